/** Writes the matrix of docs/capabilities.md anew. Every server has to run: `npm run engines -- up`. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Column, columnOf, tableOf, withTable } from "./matrix.ts";
import { openers } from "./openers.ts";

const file = fileURLToPath(new URL("../../docs/capabilities.md", import.meta.url));
const columns = new Map<string, Column>();
for (const { title, open } of openers) columns.set(title, await open(columnOf));
writeFileSync(file, withTable(readFileSync(file, "utf8"), tableOf(columns)));
