import { createRoot } from "react-dom/client";
import { expect, test, vi } from "vitest";
import { Client } from "../src/client/client.js";
import { useJob } from "../src/react/index.js";
import { event, given } from "./events.js";
import { FakeSocket } from "./socket.js";

test("a component draws a job's state as it changes, and watches as long as it is mounted", async () => {
  const socket = new FakeSocket();
  const client = new Client(socket.itself);
  socket.hear("connect");
  const place = document.createElement("div");
  const root = createRoot(place);
  const Shown = ({ job }: { job: string }) => <p>{useJob(client, job).snapshot?.state ?? "unknown"}</p>;
  root.render(<Shown job="j" />);
  await vi.waitFor(() => expect(place.textContent).toBe("unknown"));
  await vi.waitFor(() => socket.answer("watch", { snapshot: given(), events: [], recovered: true, cursor: null }));
  await vi.waitFor(() => expect(place.textContent).toBe("running"));
  socket.hear("job", event("succeeded"));
  await vi.waitFor(() => expect(place.textContent).toBe("succeeded"));
  root.unmount();
  await vi.waitFor(() => expect(socket.asked.map(([name]) => name)).toEqual(["unwatch"]));
});
