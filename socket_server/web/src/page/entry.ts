/** A job on the page. */
import { LogTail } from "../client/log-tail.js";
import { Snapshot } from "../client/snapshot.js";
import { Throughput } from "./throughput.js";

/** Lines of log and output kept of each job; what can be searched. */
const LINES = 1000;

export class Entry {
  snapshot: Snapshot;
  log = new LogTail(LINES);
  readonly throughput = new Throughput();
  readonly node = document.createElement("li");
  /** Where its node is, and its place there. */
  list: Element | null = null;
  key = 0;
  /** Whether the reader can see it, and when it was drawn, in milliseconds of the page's clock. */
  visible = true;
  drawn = -Infinity; // at once, wherever it will be
  /** It is watched by itself, and not only as one of its owner's. */
  watched = false;
  /** Its log is here from the beginning, as far as the server has it. */
  whole = false;
  /** The server does not know it. */
  missing = false;
  /** What the reader did to it. */
  readonly view = { logOpen: false, tasksOpen: false, search: "", asked: false, refusal: "" };

  constructor(job: string) {
    this.snapshot = new Snapshot(job);
    this.node.className = "job";
    this.node.tabIndex = -1;
    this.node.dataset["job"] = job;
  }

  /** Begin a new log, with all that the server has of it. */
  clearLog(): void {
    this.log = new LogTail(LINES);
    this.whole = true;
  }
}
