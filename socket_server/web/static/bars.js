/** The bars of one job: rows that are updated in place, one for each bar. */
import { clone, element, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";

const MAX_BARS = 8;
const MAX_DEPTH = 3;
const WAITING = { queued: "waiting for a worker", retrying: "waiting to be tried again" };

export class Bars {
  #node;
  #rows = [];
  #more = element("p", "", "more");

  constructor(node) {
    this.#node = node;
  }

  /** Draw a snapshot's bars; `job` names the bars that have no text of their own. */
  update(snapshot, job) {
    const bars = drawn(snapshot);
    const shown = bars.slice(0, MAX_BARS);
    while (this.#rows.length > shown.length) this.#rows.pop().node.remove();
    while (this.#rows.length < shown.length) this.#add();
    shown.forEach((bar, index) => this.#rows[index].update(bar, depth(snapshot, bar, index), snapshot, job));
    this.#overflow(bars.length - shown.length);
  }

  #add() {
    const row = new Row();
    this.#rows.push(row);
    this.#node.append(row.node);
  }

  #overflow(count) {
    setText(this.#more, `and ${count} more running`);
    if (count > 0) this.#node.append(this.#more);
    else this.#more.remove();
  }
}

function drawn(snapshot) {
  if (snapshot.bars.length || snapshot.ended) return snapshot.bars;
  const desc = WAITING[snapshot.state] ?? "";
  return [{ desc, n: 0, total: null, idle: desc !== "" || snapshot.stalled }];
}

function depth(snapshot, bar, index) {
  const own = Number.isFinite(bar.position) ? bar.position : 0;
  return Math.min(MAX_DEPTH, Math.max(0, snapshot.total > 1 && index > 0 ? own + 1 : own));
}

class Row {
  node = clone("bar-template");
  #desc = this.node.querySelector(".desc");
  #postfix = this.node.querySelector(".postfix");
  #numbers = this.node.querySelector(".numbers");
  #track = this.node.querySelector(".track");
  #fill = this.node.querySelector(".fill");
  #share = 0;

  update(bar, level, snapshot, job) {
    const share = format.fraction(bar);
    const label = String(bar.desc || "");
    const numbers = bar.idle ? "" : figures(bar, share, snapshot.ended);
    setAttribute(this.node, "data-depth", level);
    setText(this.#desc, label);
    setText(this.#postfix, String(bar.postfix || ""));
    setText(this.#numbers, numbers);
    this.#draw(bar, share, snapshot.ended);
    this.#describe(bar, share, label || job, numbers || (bar.idle ? "waiting" : "working"));
  }

  #draw(bar, share, ended) {
    const unknown = share === null;
    setAttribute(this.#track, "data-look", !unknown ? "share" : bar.idle ? "idle" : ended || bar.closed ? "done" : "unknown");
    const position = unknown ? 0 : share;
    // Another bar may take this row, and a bar may start again: going back is not animated.
    this.#fill.classList.toggle("jump", position < this.#share);
    if (position !== this.#share) this.#fill.style.transform = unknown ? "" : `translateX(${(position - 1) * 100}%)`;
    this.#share = position;
  }

  #describe(bar, share, label, text) {
    setAttribute(this.#track, "aria-label", label);
    const [now, most] = bar.total > 0 ? [Math.min(Math.max(bar.n, 0), bar.total), bar.total] : [1, 1];
    setAttribute(this.#track, "aria-valuemax", share === null ? null : most);
    setAttribute(this.#track, "aria-valuenow", share === null ? null : now);
    setAttribute(this.#track, "aria-valuetext", text);
  }
}

function figures(bar, share, ended) {
  const parts = [format.percent(share), bar.n > 0 || share !== null ? format.count(bar) : ""];
  if (!ended && !bar.closed) {
    const eta = bar.eta >= 0.5 ? format.duration(bar.eta) : "";
    parts.push(format.rate(bar), eta && `${eta} left`);
  }
  return parts.filter(Boolean).join(" · ");
}
