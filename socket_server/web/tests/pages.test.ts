import { expect, test } from "vitest";
import { Client } from "../src/client/client.js";
import type { JobCounts } from "../src/client/protocol.js";
import { countText, leftText, Pages } from "../src/page/pages.js";
import { given } from "./events.js";
import { FakeSocket } from "./socket.js";

/** Pages of a page that has no jobs, and its server; `loaded` is what the page has. */
function paged(): { socket: FakeSocket; pages: Pages; loaded: JobCounts } {
  const socket = new FakeSocket();
  const client = new Client(socket.itself);
  socket.hear("connect");
  const loaded = { running: 0, queued: 0, ended: 0 };
  return { socket, loaded, pages: new Pages(client, () => loaded) };
}

const jobs = (count: number) => Array.from({ length: count }, (_, index) => given({ job: `j${index}` }));
const counts = { running: 2, queued: 5, ended: 200 };

test("what the server counts and the page does not have is left out, and said", async () => {
  const { socket, pages, loaded } = paged();
  const loading = pages.load();
  loaded.ended = 100;
  expect(socket.answer("jobs", { jobs: jobs(100), next: "n", counts })).toEqual({ limit: 100 });
  await loading;
  expect([pages.more, pages.left("running"), pages.left("ended")]).toEqual([true, 2, 100]);
  expect(leftText(pages)).toBe("Not listed: 2 running, 5 queued, 100 finished.");
});

test("older jobs are requested where the list ended, and are all on the page after the last page", async () => {
  const { socket, pages, loaded } = paged();
  const loading = pages.load();
  socket.answer("jobs", { jobs: jobs(100), next: "n", counts });
  await loading;
  const more = pages.showMore();
  Object.assign(loaded, counts);
  expect(socket.answer("jobs", { jobs: jobs(100), counts })).toEqual({ limit: 100, next: "n" });
  await more;
  expect([pages.more, pages.left("ended"), leftText(pages)]).toEqual([false, 0, ""]);
  void pages.load(); // after a reconnect: as many as are on the page
  expect(socket.answer("jobs", { jobs: [] })["limit"]).toBe(200);
});

test("a list of more jobs than one request may name is requested in several", async () => {
  const { socket, pages } = paged();
  pages.trimmed(1);
  for (let asked = 0; asked < 3; asked += 1) void pages.showMore();
  const [, , last] = socket.asked.map(([, payload]) => payload["limit"]);
  expect(last).toBe(200);
  socket.asked.splice(0, 2);
  socket.answer("jobs", { jobs: jobs(200), next: "n" });
  await Promise.resolve();
  expect(socket.answer("jobs", { jobs: jobs(200) })).toEqual({ limit: 200, next: "n" });
});

test("a server that does not count leaves the numbers open", async () => {
  const { socket, pages } = paged();
  const loading = pages.load();
  socket.answer("jobs", { jobs: jobs(100), next: "n" });
  await loading;
  expect([pages.left("ended"), leftText(pages)]).toEqual([null, "There are older jobs that are not listed."]);
});

test("a job that appears by an event alone has the jobs counted again, not too often", async () => {
  const { socket, pages, loaded } = paged();
  const loading = pages.load();
  loaded.ended = 100;
  socket.answer("jobs", { jobs: jobs(100), next: "n", counts });
  await loading;
  pages.appeared("running");
  expect(pages.left("running")).toBe(1);
  loaded.running = 1;
  const recounted = pages.recount(10_000);
  expect(socket.answer("jobs", { jobs: [], counts })).toEqual({ limit: 1 });
  await recounted;
  expect(pages.left("running")).toBe(1);
  pages.appeared("running");
  await pages.recount(11_000);
  expect(socket.asked).toEqual([]);
});

test("a heading counts all jobs of its group, and of those that a filter hides how many are shown", () => {
  expect([countText(3, 0, null), countText(3, 97, null), countText(3, null, null)]).toEqual(["3", "100", "3+"]);
  expect([countText(3, 97, 1), countText(3, null, 3), countText(3, 0, 3)]).toEqual(["1 of 100", "3 of 3+", "3"]);
});
