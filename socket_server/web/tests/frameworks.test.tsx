import { createRoot } from "react-dom/client";
import { derived } from "svelte/store";
import { beforeEach, expect, test, vi } from "vitest";
import { createApp, h, ref } from "vue";
import { Client } from "../src/client/client.js";
import { useJob } from "../src/react/index.js";
import { jobStore } from "../src/svelte/index.js";
import { useJob as useJobInVue } from "../src/vue/index.js";
import { event, given } from "./events.js";
import { FakeSocket } from "./socket.js";

let socket: FakeSocket;
let client: Client;
let place: HTMLElement;

beforeEach(() => {
  socket = new FakeSocket();
  client = new Client(socket.itself);
  socket.hear("connect");
  place = document.createElement("div");
});

/** What each framework draws of job `j`: its state, or "unknown"; returns what unmounts it. */
const FRAMEWORKS: Record<string, () => () => void> = {
  React: () => {
    const root = createRoot(place);
    const Shown = () => <p>{useJob(client, "j").snapshot?.state ?? "unknown"}</p>;
    root.render(<Shown />);
    return () => root.unmount();
  },
  Vue: () => {
    const app = createApp({
      setup() {
        const { snapshot } = useJobInVue(client, "j");
        return () => h("p", snapshot.value?.state ?? "unknown");
      },
    });
    app.mount(place);
    return () => app.unmount();
  },
  Svelte: () =>
    derived(jobStore(client, "j"), ({ snapshot }) => snapshot?.state ?? "unknown").subscribe((state) => {
      place.textContent = state;
    }),
};

test.each(Object.keys(FRAMEWORKS))(
  "%s draws a job's state as it changes, and watches as long as it does",
  async (name) => {
    const unmount = FRAMEWORKS[name]!();
    await vi.waitFor(() => expect(place.textContent).toBe("unknown"));
    await vi.waitFor(() => socket.answer("watch", { snapshot: given(), events: [], recovered: true, cursor: null }));
    await vi.waitFor(() => expect(place.textContent).toBe("running"));
    socket.hear("job", event("succeeded"));
    await vi.waitFor(() => expect(place.textContent).toBe("succeeded"));
    unmount();
    await vi.waitFor(() => expect(socket.asked.map(([name]) => name)).toEqual(["unwatch"]));
  },
);

test("a Vue component follows the job that its ref names", async () => {
  const job = ref<string | null>(null);
  const app = createApp({
    setup() {
      const { snapshot } = useJobInVue(client, job);
      return () => h("p", snapshot.value?.state ?? "unknown");
    },
  });
  app.mount(place);
  expect(socket.asked).toEqual([]);
  job.value = "j";
  await vi.waitFor(() => socket.answer("watch", { snapshot: given(), events: [], recovered: true, cursor: null }));
  await vi.waitFor(() => expect(place.textContent).toBe("running"));
  job.value = null;
  await vi.waitFor(() => expect(place.textContent).toBe("unknown"));
  expect(socket.asked.map(([name]) => name)).toEqual(["unwatch"]);
  app.unmount();
});
