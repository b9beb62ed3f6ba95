/** The tail of a job's log and output: the last lines, each once, in the order they came. */

/** Lines kept; what the page shows. */
export const MAX_LINES = 50;
const MAX_CHARACTERS = 4096;
// Colours and cursor movements that programs write for terminals.
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

export class LogTail {
  #places = new Map(); // task -> [run, seq] of the last event taken
  #decoders = new Map(); // task -> a decoder, since bytes of one letter may come in two chunks
  #partial = new Map(); // task -> the line of output that has no end yet
  #next = 0;

  /** Lines {id, at, level, text}, oldest first; `level` is "" for output. */
  lines = [];

  /** Take a `log` or `output` event; false if it is neither, or was taken before. */
  add(event) {
    if (event.type !== "log" && event.type !== "output") return false;
    if (!this.#isNews(event)) return false;
    if (event.type === "log") for (const line of listOf(event.data?.lines)) this.#line(line);
    else this.#output(event);
    return true;
  }

  /** Say in the log itself that something may be missing here. */
  gap() {
    if (this.lines.length) this.#push({ at: null, level: "", text: "… lines may be missing here …" });
  }

  #isNews({ task, run, seq }) {
    const [lastRun, lastSeq] = this.#places.get(task) ?? [-1, -1];
    if (run < lastRun || (run === lastRun && seq <= lastSeq)) return false;
    this.#places.set(task, [run, seq]);
    return true;
  }

  #line(line) {
    const { at, level, message } = line ?? {};
    if (typeof message !== "string") return;
    const shown = level === "WARNING" || level === "ERROR" ? level : "INFO";
    this.#push({ at: Number.isFinite(at) ? at : null, level: shown, text: clean(message) });
  }

  #output({ task, data }) {
    const text = listOf(data?.chunks).map((chunk) => this.#text(task, chunk)).join("");
    const rows = text.replaceAll("\r\n", "\n").split("\n");
    rows.forEach((row, index) => this.#row(task, row, index < rows.length - 1));
  }

  #text(task, chunk) {
    if (typeof chunk === "string") return chunk;
    if (typeof chunk?.base64 !== "string") return "";
    if (!this.#decoders.has(task)) this.#decoders.set(task, new TextDecoder());
    return this.#decoders.get(task).decode(bytesOf(chunk.base64), { stream: true });
  }

  #row(task, row, ended) {
    const before = this.#partial.get(task);
    if (before === undefined && row === "" && !ended) return;
    const whole = before === undefined ? row : (before.raw + row).slice(0, MAX_CHARACTERS);
    // After a carriage return, a terminal writes over the line.
    const line = { raw: whole, text: clean(whole.slice(whole.lastIndexOf("\r", whole.length - 2) + 1)) };
    const shown = before?.shown ?? this.#push({ at: null, level: "", text: "" });
    shown.text = line.text;
    if (ended) this.#partial.delete(task);
    else this.#partial.set(task, { raw: line.raw, shown });
  }

  #push(line) {
    const kept = { id: this.#next, ...line };
    this.#next += 1;
    this.lines.push(kept);
    if (this.lines.length > MAX_LINES) this.lines.shift();
    return kept;
  }
}

function listOf(value) {
  return Array.isArray(value) ? value : [];
}

function bytesOf(base64) {
  try {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

function clean(text) {
  return text.replace(ESCAPES, "").replaceAll("\r", "").slice(0, MAX_CHARACTERS);
}
