/**
 * Writes src/client/protocol.generated.ts: the types of bridge/protocol in TypeScript.
 *
 * It needs Python 3.11+ with msgspec: that of the variable PYTHON, or else that of .venv, or python3.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compile } from "json-schema-to-typescript";

const ROOT = new URL("../../", import.meta.url);
const TARGET = new URL("src/client/protocol.generated.ts", import.meta.url);
const BANNER = "/** Made by generate.mjs from the types in bridge/protocol: change those. */";

function schema() {
  const own = fileURLToPath(new URL(".venv/bin/python", ROOT));
  const python = process.env.PYTHON || (existsSync(own) ? own : "python3");
  const script = fileURLToPath(new URL("scripts/protocol_schema.py", ROOT));
  const { status, stdout, error } = spawnSync(python, [script], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status === 0) return JSON.parse(stdout);
  if (error) console.error(`taskbridge: Python 3.11+ needed, and \`${python}\` cannot be run: set PYTHON`);
  process.exit(1); // without an error, the script has said what is wrong
}

const made = await compile(schema(), "Protocol", { additionalProperties: false, bannerComment: BANNER });
// A file that stays as it is keeps its time, so that `make` does not build the page again.
if (!existsSync(TARGET) || readFileSync(TARGET, "utf8") !== made) writeFileSync(TARGET, made);
