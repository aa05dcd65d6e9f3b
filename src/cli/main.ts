#!/usr/bin/env node
import { tenon } from "./tenon.ts";

const interrupt = new AbortController();
// Once: whoever asks a second time does not wait for the orderly end.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupt.abort(signal));

const code = await tenon(process.argv.slice(2), {
  directory: process.cwd(),
  signal: interrupt.signal,
  out: process.stdout,
  error: process.stderr,
});
// What the modules of the engines have left open does not hold the command.
process.exit(code);
