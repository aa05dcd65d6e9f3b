import assert from "node:assert/strict";
import { test } from "node:test";
import { stateOf } from "./requirements.ts";

const settings = {
  version: "8.0.36",
  innodb_flush_log_at_trx_commit: "1",
  innodb_doublewrite: "ON",
  log_bin: "ON",
  sync_binlog: "1",
  binlog_format: "ROW",
  max_allowed_packet: "67108864",
  max_connections: "151",
  read_only: "OFF",
} as const;

const survives = (changed: Parameters<typeof stateOf>[0]) =>
  stateOf({ ...settings, ...changed }, 8, undefined).survives;

test("what survives what follows from how the server writes its logs", () => {
  assert.equal(survives({}), "machine");
  assert.equal(survives({ sync_binlog: "0" }), "process");
  assert.equal(survives({ sync_binlog: "0", log_bin: "OFF" }), "machine");
  assert.equal(survives({ innodb_flush_log_at_trx_commit: "2" }), "process");
  assert.equal(survives({ innodb_flush_log_at_trx_commit: "0" }), "nothing");
  assert.equal(survives({ innodb_doublewrite: "OFF" }), "process");
});

test("what is stated has to be possible, and replicas are believed in where there are some", () => {
  assert.throws(() => stateOf({ ...settings, sync_binlog: "0" }, 8, "machine"), {
    code: "invalid",
    message: /sync_binlog/,
  });
  assert.throws(() => stateOf(settings, 8, "replicas"), { code: "invalid", message: /semi-synchronous/ });
  assert.equal(stateOf({ ...settings, rpl_semi_sync_source_enabled: "ON" }, 8, "replicas").survives, "replicas");
  assert.equal(stateOf(settings, 8, "process").survives, "process");
});

test("a server that cannot carry the engine is refused, and the error says what to change", () => {
  const refused = (changed: Parameters<typeof stateOf>[0], error: object) =>
    assert.throws(() => stateOf({ ...settings, ...changed }, 8, undefined), error);
  refused({ version: "5.7.44-log" }, { code: "unsupported", message: /MySQL 5.7/ });
  refused({ version: "10.5.9-MariaDB" }, { code: "unsupported", message: /MariaDB 10.5/ });
  refused({ max_allowed_packet: "4194304" }, { code: "unsupported", message: /max_allowed_packet/ });
  refused({ binlog_format: "STATEMENT" }, { code: "unsupported", message: /binlog_format/ });
  refused({ read_only: "ON" }, { code: "unavailable", message: /primary/ });
  assert.doesNotThrow(() => stateOf({ ...settings, version: "10.11.6-MariaDB-0+deb12u1" }, 8, undefined));
});
