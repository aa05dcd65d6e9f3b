import assert from "node:assert/strict";
import { test } from "node:test";
import { parseReply } from "./redis-protocol.ts";
import { asUser } from "./site.ts";
import { systemUser } from "./system-users.ts";

const whole = "*3\r\n$5\r\nhello\r\n:42\r\n*2\r\n$-1\r\n+OK\r\n";

test("a reply of Redis is read whole", () => {
  assert.deepEqual(parseReply(Buffer.from(whole), 0), { value: ["hello", 42, [null, "OK"]], end: whole.length });
});

test("a reply of Redis that is cut anywhere is not there yet", () => {
  for (let length = 0; length < whole.length; length++)
    assert.equal(parseReply(Buffer.from(whole.slice(0, length)), 0), undefined, `${length} bytes`);
});

test("an error reply of Redis throws what it says, and another protocol is recognised", () => {
  assert.throws(() => parseReply(Buffer.from("-NOAUTH Authentication required.\r\n"), 0), /NOAUTH/);
  assert.throws(() => parseReply(Buffer.from("HTTP/1.1 400 Bad Request\r\n"), 0), /protocol/);
});

const passwd = () => "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:admin:/var/lib/postgresql:/bin/bash\n";

test("as root a server runs as its own system user, and otherwise as ourselves", () => {
  assert.deepEqual(systemUser("postgres", true, passwd), { uid: 101, gid: 104 });
  assert.equal(systemUser("postgres", false, passwd), undefined);
  assert.equal(systemUser(undefined, true, passwd), undefined);
  assert.deepEqual(asUser("postgres", ["initdb"], false), ["initdb"]);
  assert.equal(asUser("postgres", ["initdb"], true)[0], "setpriv");
});

test("a system user that its package has not made is named", () => {
  assert.throws(() => systemUser("rabbitmq", true, passwd), /rabbitmq/);
});
