import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Client } from "../src/client/client.js";
import { bar, event, given } from "./events.js";
import { FakeSocket } from "./socket.js";

const sockets: FakeSocket[] = [];
const tokens: (string | undefined)[] = [];
vi.mock("../src/client/client.js", async (original) => {
  const real = (await original()) as { Client: typeof Client };
  return {
    ...real,
    connect: ({ token }: { token?: string }) => {
      tokens.push(token);
      const socket = new FakeSocket();
      sockets.push(socket);
      return new real.Client(socket.itself);
    },
  };
});
const { define, JobProgress } = await import("../src/element/job-progress.js");
define();

const TOKEN = `x.${btoa(JSON.stringify({ sub: "me", scope: "watch cancel" }))}.x`;

beforeEach(() => {
  sockets.length = tokens.length = 0;
  sessionStorage.clear();
});
afterEach(() => document.body.replaceChildren());

function element(attributes: Record<string, string> = {}): InstanceType<typeof JobProgress> {
  const node = document.createElement("job-progress");
  for (const [name, value] of Object.entries({ job: "j", token: TOKEN, ...attributes })) node.setAttribute(name, value);
  document.body.append(node);
  return node;
}

async function shown(node: HTMLElement, text: string): Promise<ShadowRoot> {
  const root = node.shadowRoot as ShadowRoot;
  await vi.waitFor(() => expect(root.textContent?.replace(/\s+/g, " ")).toContain(text));
  return root;
}

function begin(snapshot = given({ bars: [bar()] as never })): FakeSocket {
  const socket = sockets.at(-1) as FakeSocket;
  socket.hear("connect");
  socket.answer("watch", { snapshot, events: [], recovered: true, cursor: null });
  return socket;
}

test("a bar has the role and the values of one", async () => {
  const node = element();
  begin();
  const root = await shown(node, "50% · 5 / 10");
  const track = root.querySelector("[role=progressbar]");
  expect(track?.getAttribute("aria-valuenow")).toBe("5");
  expect(track?.getAttribute("aria-valuemax")).toBe("10");
  expect(root.querySelector("[role=status]")?.textContent).toBe("work running");
});

test("a bar with a total of 0 is one of unknown length", async () => {
  const node = element();
  begin(given({ bars: [bar({ n: 0, total: 0, rate: null, eta: null })] as never }));
  const root = await shown(node, "work");
  await vi.waitFor(() => expect(root.querySelector("[role=progressbar]")).not.toBeNull());
  const track = root.querySelector("[role=progressbar]");
  expect(track?.getAttribute("data-look")).toBe("unknown");
  expect(track?.hasAttribute("aria-valuenow")).toBe(false);
  expect(track?.getAttribute("aria-valuetext")).toBe("working");
  expect(root.textContent).not.toMatch(/100%|0 \/ 0/);
});

test("its end is told, once, and shown", async () => {
  const node = element();
  const ends: string[] = [];
  node.addEventListener("end", (told) => ends.push((told as CustomEvent).detail.state));
  const socket = begin();
  socket.hear("job", event("failed", { error: { class: "ValueError", message: "no such column" } }));
  const root = await shown(node, "no such column");
  expect(root.querySelector("[role=status]")?.textContent).toBe("work failed");
  socket.hear("job", event("log", { lines: [] })); // late, of a run that is over
  expect(ends).toEqual(["failed"]);
});

test("elements with one token share one connection, which the last one closes", async () => {
  const [one, two] = [element(), element({ job: "k" })];
  expect(sockets.length).toBe(1);
  begin();
  one.remove();
  expect(sockets[0]?.connected).toBe(true);
  two.remove();
  expect(sockets[0]?.connected).toBe(false);
});

test("a page that is reloaded goes on with the renewed token, and only with that of its own token", () => {
  const of = (exp: number, job = "j") => `x.${btoa(JSON.stringify({ jobs: [job], scope: "watch", exp }))}.x`;
  element({ token: of(1) }).remove();
  sockets[0]?.hear("token_renewed", { token: of(2) });
  sockets[0]?.hear("token_renewed", { token: of(3) });
  for (const token of [of(1), of(4), of(1, "k"), TOKEN]) element({ token }).remove();
  expect(tokens).toEqual([of(1), of(3), of(4), of(1, "k"), TOKEN]);
});

test("where storage is forbidden, the page's token is the one to connect with", () => {
  vi.stubGlobal("sessionStorage", undefined);
  element().remove();
  sockets[0]?.hear("token_renewed", { token: "another" });
  element().remove();
  vi.unstubAllGlobals();
  expect(tokens).toEqual([TOKEN, TOKEN]);
});

test("the last lines of the log are shown, as many as were asked for", async () => {
  const node = element({ log: "2" });
  const socket = begin();
  socket.hear("job", event("log", { lines: ["a", "b", "c"].map((message) => ({ at: 1, level: "INFO", message })) }));
  const root = await shown(node, "c");
  expect([...root.querySelectorAll(".log li")].map((line) => line.textContent)).toEqual(["b", "c"]);
});

test("cancel is offered to a token that may, and a refusal is shown", async () => {
  const node = element();
  const socket = begin();
  const root = await shown(node, "Cancel");
  root.querySelector("button")?.click();
  socket.asked[0]?.[2](null, { ok: false, error: { code: "ended", message: "the job has already succeeded" } });
  await shown(node, "the job has already succeeded");
});

test("cancel is not offered to a token that may not", async () => {
  const node = element({ token: `x.${btoa(JSON.stringify({ sub: "me", scope: "watch" }))}.x` });
  begin();
  const root = await shown(node, "running");
  expect(root.querySelector("button")).toBeNull();
});

test("in a tab that nobody sees, events are taken in and nothing is drawn", async () => {
  const frames: FrameRequestCallback[] = [];
  vi.stubGlobal("requestAnimationFrame", (frame: FrameRequestCallback) => frames.push(frame));
  const node = element();
  const states: string[] = [];
  node.addEventListener("change", (told) => states.push((told as CustomEvent).detail.state));
  begin().hear("job", event("succeeded", { result: 1 }));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(states.at(-1)).toBe("succeeded");
  expect(node.shadowRoot?.textContent).toBe("");
  vi.unstubAllGlobals();
  for (const frame of frames) frame(0);
  await shown(node, "succeeded");
});

test("without a job or a token it says what is missing", async () => {
  await shown(element({ token: "" }), "A token is needed to show this job.");
  await shown(element({ job: "" }), "No job is named.");
});

test("another job takes the place of the first", async () => {
  const node = element();
  const socket = begin();
  await shown(node, "work");
  node.job = "k";
  await vi.waitFor(() => expect(sockets.length).toBe(2));
  expect(socket.connected).toBe(false);
});
