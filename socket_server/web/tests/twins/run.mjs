// Passes stories to a module beside this one: `node run.mjs MODULE STORIES ANSWERS`. STORIES is a file
// with a JSON list; the file ANSWERS gets what the module's `answer` returns for each of them.
// tests/support/twin.py runs this, and compares the answers with those of the Python twin.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const [name, stories, answers] = process.argv.slice(2);
const root = fileURLToPath(new URL("../..", import.meta.url));
const { module } = await runnerImport(`${root}tests/twins/${name}.ts`, { configFile: false, root, logLevel: "error" });
const found = [];
for (const story of JSON.parse(await readFile(stories, "utf8"))) found.push(await module.answer(story));
await writeFile(answers, JSON.stringify(found));
