/** Texts about a job for people. Pure; `now` in seconds since the epoch. */
import type { Expectation, QueuePlace, Resumption } from "../client/protocol.js";
import { legible } from "../client/legible.js";
import type { Snapshot } from "../client/snapshot.js";
import type { TaskState } from "../client/task-state.js";
import * as format from "./format.js";

/** "workers.jobs.checksum" → "checksum". */
export function shortName(name: string): string {
  return legible(name).split(".").at(-1) || "job";
}

/** What a job is called: its title, or the short name of its task. */
export function titleOf({ title, name }: Pick<Snapshot, "title" | "name">): string {
  return title ? legible(title) : shortName(name);
}

/** What the badge of a job or a task shows. */
interface Standing {
  state: string;
  stalled: boolean;
  attempt: number;
  resumed?: Resumption | null;
}

/** Text of the badge of a state. */
export function badge({ state, stalled, attempt, resumed }: Standing): string {
  if (stalled) return `${state}, no news`;
  if (attempt < 2 || state !== "running") return state;
  return `running, attempt ${attempt}${resumed ? `, from ${origin(resumed)}` : ""}`;
}

function origin({ at, share }: Resumption): string {
  return share === null ? `what was saved ${format.clock(at)}` : format.percent(share);
}

/** A row in the list of a canvas's tasks: a task, or several that wait alike. */
export interface TaskRow {
  task: TaskState;
  count: number;
}

/** Tasks in the order given; of those that are queued, one row for each name. */
export function taskRows(tasks: TaskState[]): TaskRow[] {
  const waiting = new Map<string, TaskRow>();
  const rows: TaskRow[] = [];
  for (const task of tasks) {
    const alike = task.state === "queued" ? waiting.get(task.name) : undefined;
    if (alike) {
      alike.count += 1;
      continue;
    }
    const row = { task, count: 1 };
    rows.push(row);
    if (task.state === "queued") waiting.set(task.name, row);
  }
  return rows;
}

/** How long a job has run or waited, or when it ended and how long it took. */
export function time(snapshot: Snapshot, now: number): string {
  const { queued_at: queued, started_at: started, ended_at: end } = snapshot;
  if (!snapshot.ended) {
    const since = started || queued;
    return since ? `for ${format.duration(now - since)}` : "";
  }
  const took = started && end ? `took ${format.duration(end - started, { tenths: true })}` : "";
  return [took, format.clock(end, now)].filter(Boolean).join(" · ");
}

/** What went wrong, as Python says it: class and message, unchanged; "" for nothing. */
export function failure({ error }: Snapshot): string {
  if (!error) return "";
  return legible([error.class, error.message].filter(Boolean).join(": ") || "The job failed and gave no reason.");
}

/** Sentences on the queue, the expected end, silence, reasons and the next retry. */
export function hints(snapshot: Snapshot, now: number): string[] {
  const { state, queue, eta, reason, retry_at: retryAt } = snapshot;
  const found = queue ? [place(queue)] : [];
  if (eta && eta.latest > now) found.push(expected(eta, now));
  if (snapshot.disturbed) found.push(disturbed(snapshot.disturbed));
  else if (snapshot.stalled) found.push("Nothing has come from this job for a while: its worker may be busy, or gone.");
  if (snapshot.saved && state !== "succeeded" && state !== "cancelled")
    found.push(`Saved ${format.clock(snapshot.saved, now)}.`);
  if (reason && reason !== snapshot.error?.message) found.push(capital(legible(reason)));
  if (state !== "retrying") return found.filter(Boolean);
  const wait = retryAt === null ? 0 : retryAt - now;
  found.push(wait > 0.5 ? `It is tried again in ${format.duration(wait)}.` : "It waits for a worker.");
  return found.filter(Boolean);
}

function place({ name, ahead, workers, taken }: QueuePlace): string {
  if (workers === false) return `No worker is consuming the queue “${legible(name)}”.`;
  if (taken) return "A worker has taken it, and has not begun it, or does not report.";
  if (ahead === 0) return "Next in the queue.";
  return ahead === null ? "" : `About ${format.number(ahead)} ${ahead === 1 ? "task" : "tasks"} ahead in the queue.`;
}

function expected({ earliest, latest, jobs }: Expectation, now: number): string {
  const [least, most] = [format.duration(earliest - now), format.duration(latest - now)];
  const range = least === most ? most : `${least} to ${most}`;
  return `Expected to be over in ${range}, going by the last ${format.number(jobs)} jobs.`;
}

function disturbed(reason: string): string {
  return `The way to the workers is disturbed: ${legible(reason)}. The job may go on meanwhile.`;
}

function capital(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

const ENDINGS: Partial<Record<string, string>> = {
  failed: "The job failed and gave no reason.",
  lost: "Nothing was heard of this job any more: its worker may have died.",
};

/** Sentences on what is missing or unknown; `partial`: the job's first events are yet to come. */
export function notes(snapshot: Snapshot, { missing = false, partial = false } = {}): string[] {
  const found = missing ? ["The server does not know this job at the moment."] : [];
  const ending = ENDINGS[snapshot.state];
  if (ending && !snapshot.error && !snapshot.reason) found.push(ending);
  if (snapshot.resultOmitted) found.push("The result is too large to be shown here.");
  if (snapshot.dropped > 0)
    found.push(`${format.number(snapshot.dropped)} lines of log or output were dropped on the way.`);
  if (snapshot.incomplete && !snapshot.dropped && !partial) found.push("Something this job reported did not arrive.");
  return found;
}

/** A result that is a short object of plain values, as pairs of texts; null for any other. */
export function facts(result: unknown): [name: string, text: string][] | null {
  if (result === null || typeof result !== "object" || Array.isArray(result)) return null;
  const shown: [string, string][] = [];
  for (const [name, value] of Object.entries(result)) {
    if (value === null) continue;
    const text = plain(value);
    if (text === null || text.length > 300 || text.includes("\n")) return null;
    shown.push([legible(name).replaceAll("_", " "), text]);
  }
  return shown.length && shown.length <= 12 ? shown : null;
}

function plain(value: unknown, nested = false): string | null {
  if (value === null) return "none";
  if (typeof value !== "object") return typeof value === "number" ? format.exact(value) : legible(value);
  if (nested) return null;
  const named = !Array.isArray(value);
  const texts: string[] = [];
  for (const [name, item] of Object.entries(value as object)) {
    const text = plain(item, true);
    if (text === null) return null;
    texts.push(named ? `${legible(name)}: ${text}` : text);
  }
  return texts.join(", ") || "none";
}

/** A value as JSON, or a string as it is. */
export function text(value: unknown): string {
  return legible(typeof value === "string" ? value : JSON.stringify(value, null, 2));
}
