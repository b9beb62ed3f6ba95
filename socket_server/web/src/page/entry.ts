/** `Entry`: the state of a job on the page. */
import { LogTail } from "../client/log-tail.js";
import { Snapshot } from "../client/snapshot.js";
import { Throughput } from "./throughput.js";

/** Maximum lines of log and output that are kept, and can be searched, of each job. */
const LINES = 1000;

export class Entry {
  snapshot: Snapshot;
  log = new LogTail(LINES);
  readonly throughput = new Throughput();
  readonly node = document.createElement("li");
  /** The list that contains its node, and its sort key there: the greatest is first. */
  list: Element | null = null;
  key = 0;
  /** Whether it is near the viewport, and when it was drawn, as of `performance.now()`. */
  visible = true;
  drawn = -Infinity; // the first drawing is due at once
  /** Whether the client follows this job, in addition to its owner's events. */
  watched = false;
  /** Whether `log` begins with the oldest line that the server has. */
  whole = false;
  /** Whether only events tell of it so far, and not its first ones. */
  partial = false;
  /** Whether the server refused to follow it, for example because it does not have it. */
  missing = false;
  /** State of the card's controls. */
  readonly view = { logOpen: false, tasksOpen: false, search: "", asked: false, refusal: "" };

  constructor(job: string) {
    this.snapshot = new Snapshot(job);
    this.node.className = "job";
    this.node.tabIndex = -1;
    this.node.dataset["job"] = job;
  }

  /** Empty the log before all lines that the server has are added. */
  clearLog(): void {
    this.log = new LogTail(LINES);
    this.whole = true;
  }
}
