import { expect, test, vi } from "vitest";
import { Client } from "../src/client/client.js";
import { Credentials } from "../src/client/credentials.js";
import type { JobEvent } from "../src/client/protocol.js";
import { event, given } from "./events.js";
import { FakeSocket } from "./socket.js";

function live(getToken?: () => Promise<string>): [FakeSocket, Client] {
  const socket = new FakeSocket();
  const client = new Client(socket.itself, new Credentials("", getToken));
  socket.hear("connect");
  return [socket, client];
}

const view = (rest = {}) => ({ snapshot: given(), events: [], recovered: true, cursor: "c1", ...rest });

test("a job that is watched tells its events to its end, and then the iteration is over", async () => {
  const [socket, client] = live();
  const job = client.watch("j");
  const all: string[] = [];
  const reading = (async () => {
    for await (const one of job) all.push(one.type);
  })();
  socket.answer("watch", view({ events: [event("log", { lines: [] })] }));
  socket.hear("job", event("progress", { bars: [] }));
  socket.hear("job", event("succeeded", { result: 3 }));
  await reading;
  expect(all).toEqual(["log", "progress", "succeeded"]);
  expect(job.snapshot.result).toBe(3);
});

test("after a cut it goes on from the newest cursor, and gives no event out twice", () => {
  const [socket, client] = live();
  const lines: JobEvent[] = [];
  const recovered: boolean[] = [];
  const job = client.watch("j");
  job.addEventListener("log", ({ detail }) => lines.push(detail));
  job.addEventListener("snapshot", ({ detail }) => recovered.push(detail.recovered));
  socket.answer("watch", view());
  const [one, two] = [event("log"), event("log")];
  socket.hear("job", { ...one, cursor: "c2" });
  socket.hear("disconnect", "transport close");
  expect(client.state).toBe("reconnecting");
  socket.hear("connect");
  const asked = socket.answer("watch", view({ events: [one, two], cursor: "c3" }));
  expect(asked).toEqual({ job: "j", cursor: "c2" });
  expect(lines.map(({ seq }) => seq)).toEqual([one.seq, two.seq]);
  expect(recovered).toEqual([true, true]);
});

test("what comes by another way before the server has told what was missed hides none of it", () => {
  const [socket, client] = live();
  const lines: number[] = [];
  client.watch("j").addEventListener("log", ({ detail }) => lines.push(detail.seq));
  socket.answer("watch", view());
  const [one, two, three] = [event("log"), event("log"), event("log")];
  socket.hear("disconnect", "transport close");
  socket.hear("connect");
  socket.hear("job", { ...two, cursor: "c3" });
  const asked = socket.answer("watch", view({ events: [one, two], cursor: "c3" }));
  expect(asked).toEqual({ job: "j", cursor: "c1" });
  socket.hear("job", { ...three, cursor: "c4" });
  expect(lines).toEqual([one.seq, two.seq, three.seq]);
});

test("a server that is asked too much after a cut is asked again, and nothing is lost", async () => {
  vi.useFakeTimers();
  const [socket, client] = live();
  const lines: number[] = [];
  client.watch("j").addEventListener("log", ({ detail }) => lines.push(detail.seq));
  socket.answer("watch", view());
  socket.hear("disconnect", "transport close");
  socket.hear("connect");
  socket.refuse("watch", { code: "too_many_requests", message: "too many requests" });
  const missed = event("log");
  socket.hear("job", event("log"));
  await vi.advanceTimersByTimeAsync(2000);
  expect(socket.answer("watch", view({ events: [missed], cursor: "c2" }))).toEqual({ job: "j", cursor: "c1" });
  expect(lines).toEqual([missed.seq]);
  vi.useRealTimers();
});

test("who watches a job that is watched already is told all of it, and nobody else is told again", () => {
  const [socket, client] = live();
  const seen: [string, number][] = [];
  const watch = (name: string) =>
    client.watch("j").addEventListener("log", ({ detail }) => seen.push([name, detail.seq]));
  const [one, two] = [event("log"), event("log")];
  watch("first");
  socket.answer("watch", view({ events: [one] }));
  watch("second");
  socket.answer("watch", view({ events: [one] }));
  socket.hear("job", two);
  expect(seen).toEqual([
    ["first", one.seq],
    ["second", one.seq],
    ["first", two.seq],
    ["second", two.seq],
  ]);
});

test("the server is asked to stop when the last of those who watch a job closes", () => {
  const [socket, client] = live();
  const [one, two] = [client.watch("j"), client.watch("j")];
  socket.answer("watch", view());
  socket.answer("watch", view());
  one.close();
  expect(socket.asked).toEqual([]);
  two.close();
  two.close();
  expect(socket.asked.map(([name]) => name)).toEqual(["unwatch"]);
});

test("a job that is not there ends the iteration with the server's sentence", async () => {
  const [socket, client] = live();
  const end = client.watch("j").end();
  socket.asked[0]?.[2](null, { ok: false, error: { code: "not_found", message: "no job j that this token names" } });
  await expect(end).rejects.toMatchObject({ code: "not_found", message: "no job j that this token names" });
});

test("a job that was asked for before there is a connection is watched once there is one", () => {
  const socket = new FakeSocket();
  const client = new Client(socket.itself);
  const job = client.watch("j");
  expect(socket.asked).toEqual([]);
  socket.hear("connect");
  socket.answer("watch", view());
  expect(job.known).toBe(true);
});

test("a request without a connection is refused at once, in one sentence", async () => {
  const client = new Client(new FakeSocket().itself);
  await expect(client.jobs()).rejects.toMatchObject({ code: "unavailable" });
});

test("a refused token ends what is watched, with the reason", async () => {
  const socket = new FakeSocket();
  const client = new Client(socket.itself);
  const end = client.watch("j").end();
  socket.active = false;
  socket.hear("connect_error", Object.assign(new Error("the token has expired"), { data: { code: "unauthorized" } }));
  expect(client.state).toBe("refused");
  await expect(end).rejects.toThrow("the token has expired");
  await expect(client.watch("k").end()).rejects.toThrow("the token has expired");
});

test("another token is asked for before one expires, without a new connection", async () => {
  const [socket] = live(async () => "another");
  socket.hear("token_expiring", { expires: 1 });
  await vi.waitFor(() =>
    expect(socket.asked.map(([name, payload]) => [name, payload])).toEqual([
      ["refresh", { token: "another", renew: false }],
    ]),
  );
});

test("a token that the server renews is the one to reconnect with", async () => {
  const credentials = new Credentials("first");
  const socket = new FakeSocket();
  const client = new Client(socket.itself, credentials);
  const heard: unknown[] = [];
  client.addEventListener("token_renewed", ({ detail }) => heard.push(detail.token));
  socket.hear("connect");
  for (const wrong of [undefined, {}, { token: 7 }]) socket.hear("token_renewed", wrong);
  expect(await credentials.current()).toEqual({ token: "first", renew: true });
  socket.hear("token_renewed", { token: "second", expires: 1 });
  expect(await credentials.current()).toEqual({ token: "second", renew: true });
  expect(heard).toEqual(["second"]);
  expect(socket.asked).toEqual([]);
});

test("a token that the application replaces is the one to reconnect with, once the server took it", async () => {
  const credentials = new Credentials("first");
  const socket = new FakeSocket();
  const client = new Client(socket.itself, credentials);
  socket.hear("connect");
  const refused = client.refresh("bad");
  socket.refuse("refresh", { code: "unauthorized", message: "the token is not valid" });
  await expect(refused).rejects.toThrow("not valid");
  expect(await credentials.current()).toEqual({ token: "first", renew: true });
  const taken = client.refresh("second");
  expect(socket.answer("refresh", {})).toEqual({ token: "second", renew: true });
  await taken;
  expect(await credentials.current()).toEqual({ token: "second", renew: true });
});

test("a job that is over stays shown when the token ends", () => {
  const [socket, client] = live();
  const job = client.watch("j");
  socket.answer("watch", view({ snapshot: given({ state: "succeeded" }) }));
  socket.active = false;
  socket.hear("connect_error", Object.assign(new Error("the token has expired"), { data: { code: "unauthorized" } }));
  expect(client.state).toBe("refused");
  expect(job.error).toBeNull();
});

test("a server that drains is heard of, and watched until it hangs up", () => {
  const [socket, client] = live();
  const heard: unknown[] = [];
  client.addEventListener("draining", (event) => heard.push((event as CustomEvent).detail));
  socket.hear("draining", { after: 10 });
  expect(heard).toEqual([{ after: 10 }]);
  expect(client.state).toBe("live");
});

test("a server of another shard says which is right, and that one is asked", () => {
  const socket = new FakeSocket();
  const client = new Client(socket.itself);
  const wrong = Object.assign(new Error("elsewhere"), { data: { code: "wrong_shard", shard: 3 } });
  socket.active = false;
  socket.hear("connect_error", wrong);
  expect(socket.io.opts.query).toEqual({ shard: "3" });
  expect(client.state).toBe("live");
  socket.hear("connect_error", wrong); // where no balancer chooses, asking again is of no use
  expect(client.state).toBe("refused");
});

test("an enqueued job is watched from its first event on", async () => {
  const [socket, client] = live();
  const enqueued = client.enqueue("app.work", { args: [1] });
  expect(socket.answer("enqueue", { job: "j", snapshot: given({ state: "queued" }) })).toEqual({
    name: "app.work",
    args: [1],
  });
  const job = await enqueued;
  expect(job.snapshot.state).toBe("queued");
  socket.hear("job", event("started"));
  expect(job.snapshot.state).toBe("running");
});

test("a list of several pages is asked for to its end, and each page is given out as it comes", async () => {
  const [socket, client] = live();
  const pages: unknown[] = [];
  client.addEventListener("jobs", ({ detail }) =>
    pages.push([detail.jobs.map((one) => one.job), detail.first, detail.last]),
  );
  const listed = client.jobs({ limit: 3, state: "running" });
  expect(socket.answer("jobs", { jobs: [given({ job: "a" }), given({ job: "b" })], next: "n1" })).toEqual({
    limit: 3,
    state: "running",
  });
  await vi.waitFor(() => expect(socket.asked).toHaveLength(1));
  expect(socket.answer("jobs", { jobs: [given({ job: "c" })], next: "n2" })).toEqual({
    limit: 1,
    state: "running",
    next: "n1",
  });
  expect((await listed).map((one) => one.job)).toEqual(["a", "b", "c"]);
  expect(pages).toEqual([
    [["a", "b"], true, false],
    [["c"], false, true],
  ]);
  expect(socket.asked).toEqual([]);
});

test("a server without pages answers once, and that is all", async () => {
  const [socket, client] = live();
  const listed = client.jobs();
  expect(socket.answer("jobs", { jobs: [given({ job: "a" })] })).toEqual({ limit: 50 });
  expect((await listed).map((one) => one.job)).toEqual(["a"]);
  expect(socket.asked).toEqual([]);
});

test("a page that is asked for too soon is asked for again", async () => {
  vi.useFakeTimers();
  const [socket, client] = live();
  const listed = client.jobs();
  socket.answer("jobs", { jobs: [given({ job: "a" })], next: "n1" });
  await vi.advanceTimersByTimeAsync(0);
  socket.refuse("jobs", { code: "too_many_requests", message: "too many bytes were asked for" });
  await vi.advanceTimersByTimeAsync(2000);
  expect(socket.answer("jobs", { jobs: [given({ job: "b" })] })).toMatchObject({ next: "n1" });
  expect((await listed).map((one) => one.job)).toEqual(["a", "b"]);
  vi.useRealTimers();
});

test("what a second server makes of a silence is told though its clock is behind the first one's", () => {
  const [socket, client] = live();
  const told: number[] = [];
  client.watch("j").addEventListener("stalled", ({ detail }) => told.push(detail.at));
  socket.answer("watch", view());
  const silent = (at: number) => ({ ...event("stalled", { silent: 15 }), at });
  socket.hear("job", silent(2000));
  socket.hear("disconnect", "transport close");
  socket.hear("connect");
  socket.answer("watch", view({ events: [silent(1000), silent(1000)] }));
  expect(told).toEqual([2000, 1000]);
});

const REFUSAL = "the server lets no page of https://a.example in: list it in TASKBRIDGE_ORIGINS of the server";

/** A client whose server answers each question about the page's origin with the next of these. */
function asking(...answers: (string | null)[]): [FakeSocket, Client, () => number] {
  const socket = new FakeSocket();
  let asked = 0;
  const client = new Client(socket.itself, undefined, async () => answers[asked++] ?? null);
  return [socket, client, () => asked];
}

const settled = () => new Promise((resolve) => setTimeout(resolve));

test("a page whose origin the server refuses is told which setting to change, and connects no more", async () => {
  const [socket, client] = asking(REFUSAL);
  const errors: string[] = [];
  client.watch("j").addEventListener("error", ({ detail }) => errors.push(detail.message));
  socket.hear("connect_error", new Error("websocket error"));
  await settled();
  expect([client.state, errors, socket.closed]).toEqual(["refused", [REFUSAL], true]);
  const later = client.watch("k");
  await settled();
  expect(later.error).toMatchObject({ code: "forbidden", message: REFUSAL });
});

test("while no server answers the question about the origin, the client goes on trying and asking", async () => {
  const [socket, client, asked] = asking(null, null, "");
  for (const count of [1, 2, 3, 3]) {
    socket.hear("connect_error", new Error("websocket error"));
    await settled();
    expect([client.state, asked()]).toEqual(["connecting", count]);
  }
});

test("a page that was let in before waits for a server that lets it in again, and says why", async () => {
  const [socket, client] = asking(REFUSAL);
  const said: string[] = [];
  socket.hear("connect");
  socket.hear("disconnect", "transport close");
  client.addEventListener("state", ({ detail: { state, message } }) => said.push(`${state}: ${message}`));
  socket.hear("connect_error", new Error("websocket error"));
  await settled();
  expect(said.at(-1)).toBe(`reconnecting: ${REFUSAL}`);
  expect(socket.closed).toBe(false);
});
