/** The log of one job on the page: its last line when closed, the tail, followed, when open. */
import { element, setText } from "./dom.js";
import { clock } from "./format.js";

const AT_THE_END = 12; // pixels from the bottom within which the reader is following

export class LogView {
  /** Called when the reader opens the log. */
  onopen = () => {};
  #node;
  #lines;
  #last;
  #rows = new Map(); // id of the line -> its row
  #empty = element("p", "", "nothing");

  constructor(node) {
    this.#node = node;
    this.#lines = node.querySelector(".lines");
    this.#last = node.querySelector(".last");
    node.addEventListener("toggle", () => {
      if (node.open) this.onopen();
    });
  }

  update(log, job, started) {
    if (this.#node.hidden === started) this.#node.hidden = !started;
    const open = this.#node.open;
    setText(this.#last, open ? "" : (log.lines.at(-1)?.text ?? ""));
    if (open) this.#draw(log, job);
  }

  #draw(log, job) {
    const box = this.#lines;
    box.setAttribute("aria-label", `Log of ${job}`);
    const following = box.scrollHeight - box.scrollTop - box.clientHeight < AT_THE_END;
    const grew = this.#sync(log.lines);
    this.#sayEmpty(log.lines.length === 0);
    if (following && grew) box.scrollTop = box.scrollHeight;
  }

  #sync(lines) {
    const kept = new Set(lines.map((line) => line.id));
    for (const [id, row] of this.#rows)
      if (!kept.has(id)) {
        row.remove();
        this.#rows.delete(id);
      }
    let grew = false;
    for (const line of lines) grew = this.#show(line) || grew;
    return grew;
  }

  #show(line) {
    const known = this.#rows.get(line.id);
    if (known) {
      const changed = known.lastChild.textContent !== line.text;
      setText(known.lastChild, line.text);
      return changed;
    }
    const row = element("div", "", "line");
    row.dataset.level = line.level;
    if (line.at !== null) row.append(element("span", clock(line.at), "at"));
    if (line.level === "WARNING" || line.level === "ERROR") row.append(element("span", line.level.toLowerCase(), "level"));
    row.append(element("span", line.text, "text"));
    this.#rows.set(line.id, row);
    this.#lines.append(row);
    return true;
  }

  #sayEmpty(empty) {
    setText(this.#empty, "No log lines.");
    if (!empty) this.#empty.remove();
    else if (!this.#empty.isConnected) this.#lines.append(this.#empty);
  }
}
