import { stepsFrom, type Tables, tablesOf } from "../relational/tables.ts";

/** Grows when a table changes; an engine works on tables of its own version only. */
export const tablesVersion = 2;

/** The server's clock in ms since the epoch, when the statement began; no time zone has a say. */
export const clock = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e3)";

/** Where it is told what may interest others. */
export function noticesOf({ prefix }: Pick<Tables, "prefix">): string {
  return `${prefix}_notices`;
}

/**
 * The statements that make the tables of an engine, for those who make tables by their own tools; with `from`, those that bring tables of that version up to date, once. Instants are milliseconds since the epoch by the
 * server's clock. Names and keys are bytes, so that no collation has a say.
 */
export function mysqlTables(prefix = "tenon", from?: number): string {
  return (from === undefined ? tableStatements(prefix) : upgradeStatements(prefix, from))
    .map((statement) => `${statement};\n`)
    .join("\n");
}

/** One by one. The last one of each step tells the version; what a step has added already is refused when it is added again. */
export function upgradeStatements(prefix: string, from: number): readonly string[] {
  const t = tablesOf(prefix);
  const steps = [
    [
      `ALTER TABLE ${t.partitions} ADD COLUMN sealed VARBINARY(1024) NOT NULL DEFAULT ''`,
      `UPDATE ${t.meta} SET value = 2 WHERE name = 'tables' AND value < 2`,
    ],
  ];
  return stepsFrom(from, steps).flat();
}

/** One by one. Each may be repeated; the last one makes the rest be there. */
export function tableStatements(prefix: string): readonly string[] {
  const t = tablesOf(prefix);
  const table = (name: string, parts: string): string =>
    `CREATE TABLE IF NOT EXISTS ${name} (\n  ${parts.trim()}\n) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`;
  return [
    table(t.fences, "id INT NOT NULL AUTO_INCREMENT PRIMARY KEY"),
    table(t.tokens, "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY"),
    table(
      noticesOf(t),
      "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, channel VARBINARY(100) NOT NULL, payload BLOB NOT NULL, told_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
    ),
    table(
      t.keyValues,
      `\`key\` VARBINARY(3072) NOT NULL PRIMARY KEY, value LONGBLOB, version BIGINT NOT NULL, expires_at DOUBLE, deleted_at DOUBLE, size INT NOT NULL,
  INDEX by_version (version), INDEX by_end (expires_at), INDEX by_delete (deleted_at)`,
    ),
    table(
      t.leases,
      "name VARBINARY(1024) NOT NULL PRIMARY KEY, state LONGBLOB NOT NULL, ends_at DOUBLE NOT NULL, INDEX by_end (ends_at)",
    ),
    table(
      t.rates,
      "`key` VARBINARY(1025) NOT NULL PRIMARY KEY, state LONGBLOB NOT NULL, ends_at DOUBLE NOT NULL, INDEX by_end (ends_at)",
    ),
    table(
      t.topics,
      `id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARBINARY(255) NOT NULL, partitions INT NOT NULL, retention_ms DOUBLE NOT NULL,
  count_max DOUBLE, when_full VARBINARY(10), UNIQUE INDEX by_name (name)`,
    ),
    table(
      t.partitions,
      `topic BIGINT NOT NULL, \`partition\` INT NOT NULL, \`next\` BIGINT NOT NULL, \`first\` BIGINT NOT NULL, published_at DOUBLE NOT NULL,
  waiting TINYINT NOT NULL, due_at DOUBLE, \`delayed\` BIGINT NOT NULL, marks LONGBLOB NOT NULL, sealed VARBINARY(1024) NOT NULL DEFAULT '', PRIMARY KEY (topic, \`partition\`)`,
    ),
    table(
      t.runs,
      `topic BIGINT NOT NULL, \`partition\` INT NOT NULL, \`position\` BIGINT NOT NULL, \`count\` INT NOT NULL, published_at DOUBLE NOT NULL,
  size INT NOT NULL, packed LONGBLOB NOT NULL, PRIMARY KEY (topic, \`partition\`, \`position\`)`,
    ),
    table(
      t.delayed,
      `topic BIGINT NOT NULL, \`partition\` INT NOT NULL, due_at DOUBLE NOT NULL, \`number\` BIGINT NOT NULL, id VARBINARY(255),
  size INT NOT NULL, packed LONGBLOB NOT NULL, PRIMARY KEY (topic, \`partition\`, due_at, \`number\`)`,
    ),
    table(
      t.groups,
      `id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, topic BIGINT NOT NULL, name VARBINARY(255) NOT NULL, state LONGBLOB NOT NULL, ends_at DOUBLE,
  UNIQUE INDEX by_name (topic, name), INDEX by_end (topic, ends_at)`,
    ),
    table(
      t.lanes,
      `topic BIGINT NOT NULL, group_id BIGINT NOT NULL, \`partition\` INT NOT NULL, fence BIGINT NOT NULL, revision BIGINT NOT NULL, low BIGINT NOT NULL,
  \`cursor\` BIGINT NOT NULL, suspect BIGINT NOT NULL, progress LONGBLOB NOT NULL, PRIMARY KEY (topic, group_id, \`partition\`)`,
    ),
    table(
      t.producers,
      `topic BIGINT NOT NULL, producer VARBINARY(255) NOT NULL, \`partition\` INT NOT NULL, epoch BIGINT NOT NULL, marks LONGBLOB NOT NULL,
  used_at DOUBLE NOT NULL, PRIMARY KEY (topic, producer, \`partition\`)`,
    ),
    table(
      t.ids,
      `topic BIGINT NOT NULL, id VARBINARY(255) NOT NULL, \`partition\` INT NOT NULL, \`position\` BIGINT NOT NULL, at DOUBLE NOT NULL,
  PRIMARY KEY (topic, id), INDEX by_at (topic, at)`,
    ),
    table(t.meta, "name VARBINARY(32) NOT NULL PRIMARY KEY, value BIGINT NOT NULL"),
    `INSERT INTO ${t.meta} (name, value) VALUES ('tables', ${tablesVersion}), ('version', 0), ('forgotten', 0) ON DUPLICATE KEY UPDATE name = VALUES(name)`,
  ];
}
