/** Each framework's adapter, drawing one job; `tests/browser/test_frameworks.py` runs it in Chromium. */
import { createRoot } from "react-dom/client";
import { derived } from "svelte/store";
import { createApp, h } from "vue";
import { connect, type Snapshot } from "../src/client/index.js";
import { useJob } from "../src/react/index.js";
import { jobStore } from "../src/svelte/index.js";
import { useJob as useJobInVue } from "../src/vue/index.js";

/** Texts that each framework has drawn, without repetitions. */
export const drawn: Record<string, string[]> = { react: [], vue: [], svelte: [] };

function note(framework: string, snapshot: Snapshot | null): string {
  const texts = drawn[framework]!;
  const text = snapshot ? `${snapshot.state} ${snapshot.bars[0]?.n ?? 0}` : "unknown";
  if (texts.at(-1) !== text) texts.push(text);
  return text;
}

export function show(token: string, job: string): void {
  const client = connect({ token });
  const [react, vue] = ["react", "vue"].map(() => document.body.appendChild(document.createElement("div")));
  const Shown = () => <p>{note("react", useJob(client, job).snapshot)}</p>;
  createRoot(react!).render(<Shown />);
  createApp({
    setup() {
      const { snapshot } = useJobInVue(client, job);
      return () => h("p", note("vue", snapshot.value));
    },
  }).mount(vue!);
  derived(jobStore(client, job), ({ snapshot }) => snapshot).subscribe((snapshot) => note("svelte", snapshot));
}
