/** One job on the page. The nodes are made once and updated in place. */
import { Bars } from "./bars.js";
import { clone, element, setAttribute, setHidden, setNote, setText } from "./dom.js";
import * as format from "./format.js";
import { LogView } from "./logview.js";

export class JobCard {
  node = clone("job-template");
  #part = (name) => this.node.querySelector(`.${name}`);
  #bars = new Bars(this.#part("bars"));
  #log = new LogView(this.#part("log"));
  #asked = false; // whether cancel was pressed and the job has not said so yet
  #refusal = "";
  #result = undefined;
  #meta = "{}";
  #tasks = "";

  /** `actions`: {cancel(job): Promise, openLog(job), changed(job)}. */
  constructor(snapshot, actions) {
    const id = this.#part("id");
    id.textContent = snapshot.job.slice(0, 8);
    id.title = `Job ${snapshot.job}`;
    this.node.dataset.job = snapshot.job;
    this.#part("cancel").addEventListener("click", () => this.#cancel(snapshot.job, actions));
    this.#log.onopen = () => actions.openLog(snapshot.job);
    this.#part("tasks").addEventListener("toggle", () => actions.changed(snapshot.job));
  }

  /** Draw a snapshot and its log; `now` in seconds since the epoch. */
  update(snapshot, log, { now, mayCancel, missing }) {
    const { state, ended } = snapshot;
    const name = shortName(snapshot.name);
    setText(this.#part("name"), name);
    setAttribute(this.#part("name"), "title", snapshot.name);
    setAttribute(this.node, "data-state", state);
    setText(this.#part("badge"), badge(snapshot));
    setAttribute(this.#part("badge"), "data-state", state);
    setText(this.#part("time"), time(snapshot, now));
    this.#bars.update(snapshot, name);
    this.#drawCancel(state, mayCancel && !ended, name);
    setAttribute(this.node, "data-missing", missing ? "" : null);
    this.#drawEnd(snapshot, missing, now);
    this.#log.update(log, name, state !== "queued");
  }

  async #cancel(job, actions) {
    this.#asked = true;
    this.#refusal = "";
    actions.changed(job);
    try {
      await actions.cancel(job);
    } catch (error) {
      this.#asked = false;
      this.#refusal = error.message;
    }
    actions.changed(job);
  }

  #drawCancel(state, shown, name) {
    const button = this.#part("cancel");
    const pending = this.#asked || state === "cancelling";
    setHidden(button, !shown);
    if (button.disabled !== pending) button.disabled = pending;
    setText(button, pending ? "Cancelling…" : "Cancel");
    setAttribute(button, "aria-label", `${button.textContent} ${name}`);
    if (!shown) this.#asked = false;
  }

  #drawEnd(snapshot, missing, now) {
    const wrong = snapshot.error ? sentence(snapshot) : this.#refusal;
    setNote(this.#part("error"), snapshot.ended && !snapshot.error ? "" : wrong);
    setAttribute(this.#part("error"), "title", snapshot.error ? String(snapshot.error.class ?? "") : null);
    setNote(this.#part("note"), [...hints(snapshot, now), ...notes(snapshot, missing)].join(" "));
    this.#drawTasks(snapshot);
    this.#drawMeta(snapshot.meta);
    if (snapshot.result !== this.#result) this.#drawResult(snapshot.result);
  }

  // The tasks of a canvas, those that go on first.
  #drawTasks({ total, done, tasks }) {
    const list = this.#part("tasks");
    setHidden(list, total < 2);
    if (total < 2) return;
    setText(this.#part("tasks-title"), `Tasks (${format.number(done)} of ${format.number(total)} done)`);
    if (!list.open) return;
    const rows = tasks.map((task) => `${task.task} ${badge(task)}`).join("\n");
    if (rows === this.#tasks) return;
    this.#tasks = rows;
    this.#part("task-list").replaceChildren(...tasks.map(row));
  }

  #drawMeta(meta) {
    const text = JSON.stringify(meta);
    if (text === this.#meta) return;
    this.#meta = text;
    const facts = factsOf(meta) ?? Object.entries(meta).map(([name, value]) => [name, asText(value)]);
    this.#part("meta").replaceChildren(...facts.map(fact));
    setHidden(this.#part("meta"), !facts.length);
  }

  #drawResult(result) {
    this.#result = result;
    const facts = factsOf(result);
    const rest = result === undefined || result === null || facts ? "" : asText(result);
    this.#part("facts").replaceChildren(...(facts ?? []).map(fact));
    setHidden(this.#part("facts"), !facts);
    setNote(this.#part("result"), rest);
  }
}

/** "workers.jobs.checksum" → "checksum". */
export function shortName(name) {
  return String(name).split(".").at(-1) || "job";
}

function row(task) {
  const item = element("li");
  const state = element("span", badge(task));
  state.className = "badge";
  setAttribute(state, "data-state", task.state);
  item.append(element("span", shortName(task.name)), state);
  return item;
}

function badge({ state, stalled, attempt }) {
  if (stalled) return `${state}, no news`;
  return attempt > 1 && state === "running" ? `running, attempt ${attempt}` : state;
}

function time(snapshot, now) {
  const { queued_at: queued, started_at: started, ended_at: end } = snapshot;
  if (!snapshot.ended) {
    if (started) return `for ${format.duration(now - started)}`;
    return queued ? `for ${format.duration(now - queued)}` : "";
  }
  const took = started && end ? `took ${format.duration(end - started, { tenths: true })}` : "";
  return [took, format.clock(end, now)].filter(Boolean).join(" · ");
}

function sentence({ error }) {
  return String(error.message || error.class || "The job failed and gave no reason.");
}

// What is to be expected, and what is being waited for; `now` in seconds since the epoch.
function hints(snapshot, now) {
  const { state, queue, eta, reason, retry_at: retryAt } = snapshot;
  const found = queue ? [place(queue)] : [];
  if (eta && eta.latest > now) found.push(expected(eta, now));
  if (snapshot.stalled) found.push("Nothing has come from this job for a while: its worker may be busy, or gone.");
  if (reason && reason !== snapshot.error?.message) found.push(capital(reason));
  if (state !== "retrying") return found;
  const wait = retryAt === null ? 0 : retryAt - now;
  found.push(wait > 0.5 ? `It is tried again in ${format.duration(wait)}.` : "It waits for a worker.");
  return found;
}

function place({ name, ahead, workers }) {
  if (workers === false) return `No worker is consuming the queue “${name}”.`;
  if (ahead === 0) return "Next in the queue.";
  return ahead === null ? "" : `About ${format.number(ahead)} ${ahead === 1 ? "task" : "tasks"} ahead in the queue.`;
}

function expected({ earliest, latest, jobs }, now) {
  const [least, most] = [earliest, latest].map((at) => format.duration(at - now));
  const range = least === most ? most : `${least} to ${most}`;
  return `Expected to be over in ${range}, going by the last ${format.number(jobs)} jobs.`;
}

function capital(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

const ENDINGS = {
  failed: "The job failed and gave no reason.",
  lost: "Nothing was heard of this job any more: its worker may have died.",
};

function notes(snapshot, missing) {
  const found = missing ? ["The server does not know this job at the moment."] : [];
  if (snapshot.state in ENDINGS && !snapshot.error && !snapshot.reason) found.push(ENDINGS[snapshot.state]);
  if (snapshot.resultOmitted) found.push("The result is too large to be shown here.");
  if (snapshot.dropped > 0) found.push(`${format.number(snapshot.dropped)} lines of log or output were dropped on the way.`);
  if (snapshot.incomplete && !snapshot.dropped) found.push("Something this job reported did not arrive.");
  return found;
}

// A result of names and plain values is shown as facts; any other one as JSON.
function factsOf(result) {
  if (result === null || typeof result !== "object" || Array.isArray(result)) return null;
  const entries = Object.entries(result);
  const shown = entries.filter(([, value]) => value !== null).map(([name, value]) => [name, plainText(value)]);
  const short = ([, text]) => text !== null && text.length <= 300 && !text.includes("\n");
  return shown.length && shown.length <= 12 && shown.every(short) ? shown : null;
}

function fact([name, text]) {
  const pair = element("div");
  pair.append(element("dt", name.replaceAll("_", " ")), element("dd", text));
  return pair;
}

// A value, or one level of values, on one line; null for what is deeper.
function plainText(value, nested = false) {
  if (value === null) return "none";
  if (typeof value !== "object") return typeof value === "number" ? format.number(value) : String(value);
  if (nested) return null;
  const named = !Array.isArray(value);
  const texts = Object.entries(value).map(([name, item]) => [name, plainText(item, true)]);
  if (texts.some(([, text]) => text === null)) return null;
  return texts.map(([name, text]) => (named ? `${name}: ${text}` : text)).join(", ") || "none";
}

function asText(result) {
  return typeof result === "string" ? result : JSON.stringify(result, null, 2);
}
