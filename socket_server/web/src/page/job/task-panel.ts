/** `TaskPanel`: the tasks of a job as a tree and on a timeline, as many as there are. */
import { html, nothing, render, type TemplateResult } from "lit";
import type { Snapshot } from "../../client/snapshot.js";
import * as format from "../../view/format.js";
import { steps } from "../../view/steps.js";
import { byId, setText } from "../dom.js";
import { taskIn } from "../flower.js";
import { steered } from "../keys.js";
import { VirtualList } from "../virtual-list.js";
import type { JobTasks, TaskTimes } from "./job-tasks.js";
import { placed } from "./placed.js";
import { asTree, byTime, type TaskRow } from "./task-order.js";
import { rowId, taskFacts, taskRow } from "./task-row.js";
import { TimeScale } from "./time-scale.js";

/** Least milliseconds between two orders of the rows, and tasks for each further one. */
const [ORDERED, TASKS] = [250, 20];
/** Pixels that a mark of the timeline needs. */
const MARK = 80;

export class TaskPanel {
  #tasks: JobTasks;
  #flower: () => string | undefined;
  #tree = true;
  #rows: TaskRow[] = [];
  #version = -1;
  /** When the rows were last ordered, as of `performance.now()`. */
  #ordered = -Infinity;
  /** Tasks below which nothing is shown. */
  #closed = new Set<string>();
  /** Task that the keyboard has reached, and the one of which all is shown; "" for none. */
  #reached = "";
  #chosen = "";
  #scale = new TimeScale(0, 0);
  #now = 0;
  #snapshot: Snapshot | null = null;
  #list: VirtualList;
  #box = byId("task-box");
  #stop = new AbortController();

  /** `flower`: returns Flower's URL, if there is one. */
  constructor(tasks: JobTasks, flower: () => string | undefined) {
    this.#tasks = tasks;
    this.#flower = flower;
    this.#list = new VirtualList({ list: byId("task-rows"), scroller: this.#box, row: (index) => this.#row(index) });
    const { signal } = this.#stop;
    this.#box.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.#box.addEventListener("click", (event) => this.#click(event), { signal });
    byId("task-order").addEventListener("change", (event) => this.#turn(event), { signal });
    byId("tree-open").addEventListener("click", () => this.#close([]), { signal });
    byId("tree-close").addEventListener("click", () => this.#closeAll(), { signal });
    this.#show("tree");
  }

  /** Draw; `now` in seconds since the epoch. */
  draw(now: number, snapshot: Snapshot): void {
    byId("job-tasks").hidden = this.#tasks.size < 2;
    if (this.#tasks.size < 2) return;
    this.#now = now;
    this.#snapshot = snapshot;
    this.#order();
    this.#scale = TimeScale.of(this.#tasks.values(), now);
    setText(byId("job-tasks-count"), `${format.number(snapshot.done)} of ${format.number(snapshot.total)} done`);
    this.#list.draw(this.#rows.length);
    this.#marks();
    this.#facts();
    this.#point();
  }

  /** Take everything off the page. */
  close(): void {
    this.#stop.abort();
    this.#list.close();
    for (const id of ["task-facts", "task-steps", "task-scale"]) render(nothing, byId(id));
    byId("job-tasks").hidden = true;
  }

  // Thousands of tasks that begin one after the other need no new order for each.
  #order(now = false): void {
    const pause = ORDERED + this.#tasks.size / TASKS;
    if (this.#version === this.#tasks.version && !now) return;
    if (performance.now() - this.#ordered < pause && !now && this.#rows.length) return;
    this.#ordered = performance.now();
    this.#version = this.#tasks.version;
    this.#rows = this.#tree ? asTree(this.#tasks.values(), this.#closed) : byTime(this.#tasks.values());
  }

  #again(): void {
    this.#order(true);
    this.#list.draw(this.#rows.length);
    this.#facts();
    this.#point();
  }

  #row(index: number): TemplateResult {
    const row = this.#rows[index];
    if (!row) throw new RangeError(`no row ${index}`);
    return taskRow(row, index, { scale: this.#scale, now: this.#now, tree: this.#tree, chosen: this.#chosen });
  }

  #marks(): void {
    const width = byId("task-scale").clientWidth;
    const marks = this.#scale.marks(Math.max(2, Math.floor(width / MARK)));
    const one = ({ at, text }: { at: number; text: string }) =>
      html`<span class="tick" ${placed({ from: at, size: 0 })}>${text}</span>`;
    render(html`${marks.map(one)}`, byId("task-scale"));
  }

  #facts(): void {
    const task = this.#tasks.get(this.#chosen);
    const node = byId("task-facts");
    node.hidden = !task;
    render(task ? this.#about(task) : nothing, node);
    const [snapshot, listed] = [this.#snapshot, this.#snapshot?.tasks.find((one) => one.task === this.#chosen)];
    render(snapshot && listed ? steps(listed, snapshot, this.#now) : nothing, byId("task-steps"));
  }

  #about(task: TaskTimes): TemplateResult {
    const flower = this.#flower();
    const pairs = taskFacts(task, this.#tasks.get(task.parent ?? ""), this.#now);
    return html`${pairs.map(([name, text]) => html`<div><dt>${name}</dt><dd>${text}</dd></div>`)}${
      flower
        ? html`<div><dt>more</dt><dd><a href=${taskIn(flower, task.task)} target="_blank" rel="noopener">in Flower</a></dd></div>`
        : nothing
    }`;
  }

  // Focus stays on the box: the row that has it may leave the document.
  #point(): void {
    const index = this.#index;
    const { first, end } = this.#list.range;
    const there = index >= first && index < end;
    if (there) this.#box.setAttribute("aria-activedescendant", rowId(index));
    else this.#box.removeAttribute("aria-activedescendant");
    for (const row of this.#box.querySelectorAll<HTMLElement>(".task-row"))
      row.toggleAttribute("data-reached", there && row.id === rowId(index));
  }

  get #index(): number {
    return this.#rows.findIndex(({ task }) => task.task === this.#reached);
  }

  #key(event: KeyboardEvent): void {
    const before = this.#index;
    const row = this.#rows[before];
    const page = Math.max(1, Math.floor(this.#box.clientHeight / this.#list.height) - 1);
    const index = steered(event, before, this.#rows.length, page);
    if (index !== null) this.#reach(index);
    else if (row && (event.key === "Enter" || event.key === " ")) this.#choose(row);
    else if (row && this.#tree && event.key === "ArrowRight") this.#inwards(row, before);
    else if (row && this.#tree && event.key === "ArrowLeft") this.#outwards(row, before);
    else return;
    event.preventDefault();
  }

  #inwards(row: TaskRow, index: number): void {
    if (row.below && !row.open) this.#toggle(row);
    else if (row.open) this.#reach(index + 1);
  }

  #outwards(row: TaskRow, index: number): void {
    if (row.open) return this.#toggle(row);
    for (let above = index - 1; above >= 0; above -= 1)
      if ((this.#rows[above] as TaskRow).level < row.level) return this.#reach(above);
  }

  #reach(index: number): void {
    this.#reached = this.#rows[index]?.task.task ?? "";
    this.#list.reveal(index);
    this.#point();
  }

  #click(event: MouseEvent): void {
    const target = event.target as Element;
    const index = target.closest<HTMLElement>(".task-row")?.dataset["index"];
    const row = this.#rows[Number(index ?? NaN)];
    if (!row) return;
    this.#reached = row.task.task;
    if (row.below && target.closest(".twist")) this.#toggle(row);
    else this.#choose(row);
  }

  #choose({ task }: TaskRow): void {
    this.#chosen = this.#chosen === task.task ? "" : task.task;
    this.#again();
  }

  #toggle({ task, open }: TaskRow): void {
    if (open) this.#closed.add(task.task);
    else this.#closed.delete(task.task);
    this.#again();
  }

  #closeAll(): void {
    this.#close(asTree(this.#tasks.values(), new Set()).flatMap(({ task, below }) => (below ? [task.task] : [])));
  }

  #close(tasks: string[]): void {
    this.#closed = new Set(tasks);
    this.#again();
  }

  #turn(event: Event): void {
    this.#show((event.target as HTMLInputElement).value as "tree" | "time");
    this.#again();
    this.#box.scrollTop = 0;
  }

  #show(order: "tree" | "time"): void {
    this.#tree = order === "tree";
    byId("job-tasks").dataset["order"] = order;
    this.#box.role = this.#tree ? "tree" : "listbox";
    const chosen = document.querySelector<HTMLInputElement>(`#task-order [value=${order}]`);
    if (chosen) chosen.checked = true;
  }
}
