/** The form that starts a job. */
import type { Call } from "./calls.js";
import { byId, setNote } from "./dom.js";
import { matches } from "./patterns.js";

/** Value of the kind for tasks without fields of their own. */
const OTHER = "other";

/** Add the form's listeners; if `start` rejects, the error's message is shown in `message`. */
export function setUpForm(form: HTMLFormElement, message: HTMLElement, start: (call: Call) => Promise<void>): void {
  form.addEventListener("change", (event) => {
    if ((event.target as HTMLInputElement).name === "kind") showFields(form);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void submit(form, message, start);
  });
  showFields(form);
}

/** Show the kinds of jobs that clients may start, by patterns of names, or a note if there are none. */
export function offer(tasks: string[]): void {
  const form = byId<HTMLFormElement>("start-form");
  form.hidden = !tasks.length;
  byId("no-tasks").hidden = tasks.length > 0;
  const kinds = [...form.querySelectorAll<HTMLInputElement>("[name=kind]")];
  const allowed = kinds.filter(({ value }) => value === OTHER || tasks.some((pattern) => matches(value, pattern)));
  for (const kind of kinds) if (kind.parentElement) kind.parentElement.hidden = !allowed.includes(kind);
  const [first] = allowed;
  if (first && !allowed.some(({ checked }) => checked)) first.checked = true;
  showFields(form);
  const names = tasks.filter((name) => !name.includes("*"));
  byId("task-names").replaceChildren(...names.map((name) => new Option(name, name)));
}

function kindOf(form: HTMLFormElement): string {
  return (form.elements.namedItem("kind") as RadioNodeList).value;
}

function showFields(form: HTMLFormElement): void {
  for (const fields of form.querySelectorAll<HTMLFieldSetElement>(".fields")) {
    const chosen = fields.dataset["kind"] === kindOf(form);
    fields.hidden = !chosen;
    fields.disabled = !chosen; // inputs of other kinds are neither validated nor sent
  }
}

async function submit(
  form: HTMLFormElement,
  message: HTMLElement,
  start: (call: Call) => Promise<void>,
): Promise<void> {
  const button = form.querySelector<HTMLButtonElement>("[type=submit]");
  if (!button) return;
  button.disabled = true;
  setNote(message, "");
  try {
    await start(callIn(form));
  } catch (error) {
    setNote(message, (error as Error).message);
  }
  button.disabled = false;
}

function callIn(form: HTMLFormElement): Call {
  const kind = kindOf(form);
  const values = valuesOf(form);
  if (kind !== OTHER) return { name: kind, kwargs: values };
  const args = parsed(values["args"], "[]", "Arguments", Array.isArray) as unknown[];
  const isObject = (value: unknown) => value !== null && typeof value === "object" && !Array.isArray(value);
  const kwargs = parsed(values["kwargs"], "{}", "Keyword arguments", isObject) as Record<string, unknown>;
  return { name: String(values["name"]), args, kwargs };
}

function valuesOf(form: HTMLFormElement): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const input of form.querySelectorAll<HTMLInputElement>(".fields:enabled input")) {
    const text = input.value.trim();
    if (text !== "") values[input.name] = input.type === "number" ? Number(text) : text;
  }
  return values;
}

function parsed(text: unknown, empty: string, label: string, isRight: (value: unknown) => boolean): unknown {
  let value: unknown;
  try {
    value = JSON.parse(typeof text === "string" ? text : empty);
  } catch {
    value = undefined;
  }
  if (!isRight(value))
    throw new Error(`${label} must be JSON such as ${empty === "[]" ? '["/data", 3]' : '{"path": "/data"}'}.`);
  return value;
}
