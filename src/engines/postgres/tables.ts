import { stepsFrom, type Tables, tablesOf } from "../relational/tables.ts";

/** Grows when a table changes; an engine works on tables of its own version only. */
export const tablesVersion = 2;

/** The server's clock in ms since the epoch, at the moment at which it is asked. `extract` would count in numerics, and take ten times as long. */
export const clock = "(date_part('epoch', clock_timestamp()) * 1000)";

/**
 * The statements that make the tables of an engine, for those who make tables by their own tools; with `from`, those that bring tables of that version up to date. Instants are milliseconds since the epoch by the
 * server's clock. Names and keys are bytes, so that no collation has a say.
 */
export function postgresTables(prefix = "tenon", from?: number): string {
  const t = tablesOf(prefix);
  return from === undefined ? made(t) : stepsFrom(from, steps(t)).join("");
}

/** From each version to the next. */
function steps(t: Tables): readonly string[] {
  return [
    `
ALTER TABLE ${t.partitions} ADD COLUMN IF NOT EXISTS sealed bytea NOT NULL DEFAULT '';
UPDATE ${t.meta} SET value = 2 WHERE name = 'tables' AND value < 2;
`,
  ];
}

function made(t: Tables): string {
  return `
CREATE TABLE IF NOT EXISTS ${t.meta} (name text PRIMARY KEY, value bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO ${t.meta} VALUES ('tables', ${tablesVersion}), ('version', 0), ('forgotten', 0) ON CONFLICT DO NOTHING;
CREATE SEQUENCE IF NOT EXISTS ${t.fences} MAXVALUE 2147483647;
CREATE SEQUENCE IF NOT EXISTS ${t.tokens};

CREATE TABLE IF NOT EXISTS ${t.keyValues} (
  key bytea PRIMARY KEY, value bytea, version bigint NOT NULL, expires_at float8, deleted_at float8
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS ${t.keyValues}_version ON ${t.keyValues} (version);
CREATE INDEX IF NOT EXISTS ${t.keyValues}_ends ON ${t.keyValues} (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS ${t.keyValues}_deleted ON ${t.keyValues} (deleted_at) WHERE deleted_at IS NOT NULL;
ALTER TABLE ${t.keyValues} ALTER COLUMN value SET STORAGE EXTERNAL;

CREATE TABLE IF NOT EXISTS ${t.leases} (name bytea PRIMARY KEY, state bytea NOT NULL, ends_at float8 NOT NULL);
CREATE INDEX IF NOT EXISTS ${t.leases}_ends ON ${t.leases} (ends_at);

CREATE TABLE IF NOT EXISTS ${t.rates} (key bytea PRIMARY KEY, state bytea NOT NULL, ends_at float8 NOT NULL) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS ${t.rates}_ends ON ${t.rates} (ends_at);

CREATE TABLE IF NOT EXISTS ${t.topics} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name bytea NOT NULL UNIQUE, partitions int NOT NULL,
  retention_ms float8 NOT NULL, count_max float8, when_full text
);
CREATE TABLE IF NOT EXISTS ${t.partitions} (
  topic bigint, partition int, next bigint NOT NULL, first bigint NOT NULL, published_at float8 NOT NULL, waiting boolean NOT NULL,
  due_at float8, delayed bigint NOT NULL, marks bytea NOT NULL, sealed bytea NOT NULL DEFAULT '', PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS ${t.runs} (
  topic bigint, partition int, position bigint, count int NOT NULL, published_at float8 NOT NULL, packed bytea NOT NULL,
  PRIMARY KEY (topic, partition, position)
);
ALTER TABLE ${t.runs} ALTER COLUMN packed SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS ${t.delayed} (
  topic bigint, partition int, due_at float8, number bigint, id bytea, packed bytea NOT NULL,
  PRIMARY KEY (topic, partition, due_at, number)
);
CREATE TABLE IF NOT EXISTS ${t.groups} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic bigint NOT NULL, name bytea NOT NULL, state bytea NOT NULL, ends_at float8,
  UNIQUE (topic, name)
) WITH (fillfactor = 50);
CREATE INDEX IF NOT EXISTS ${t.groups}_ends ON ${t.groups} (topic, ends_at) WHERE ends_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS ${t.lanes} (
  topic bigint, group_id bigint, partition int, fence bigint NOT NULL, revision bigint NOT NULL, low bigint NOT NULL, cursor bigint NOT NULL,
  suspect bigint NOT NULL, progress bytea NOT NULL, PRIMARY KEY (topic, group_id, partition)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS ${t.producers} (
  topic bigint, producer bytea, partition int, epoch bigint NOT NULL, marks bytea NOT NULL, used_at float8 NOT NULL,
  PRIMARY KEY (topic, producer, partition)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS ${t.ids} (
  topic bigint, id bytea, partition int NOT NULL, position bigint NOT NULL, at float8 NOT NULL, PRIMARY KEY (topic, id)
);
CREATE INDEX IF NOT EXISTS ${t.ids}_at ON ${t.ids} (topic, at);
`;
}
