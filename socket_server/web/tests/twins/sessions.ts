/** Watches a job through a session, for tests/unit/socket_server/web/test_novelty_twin.py. */
import { Client } from "../../src/client/client.js";
import type { JobEvent } from "../../src/client/protocol.js";
import { FakeSocket } from "../socket.js";
import { look } from "./snapshots.js";

/** What the server does, one after the other. */
type Step =
  | { do: "connect" | "disconnect" }
  | { do: "answer"; reply: object }
  | { do: "refuse"; error: { code: string; message: string } }
  | { do: "job"; event: JobEvent };

// The client asks again after a second; a story has no clock.
globalThis.setTimeout = ((call: () => void) => setImmediate(call)) as unknown as typeof setTimeout;

class Session {
  readonly socket = new FakeSocket();
  readonly asked: unknown[] = [];

  take(step: Step): void {
    const { socket, asked } = this;
    if (step.do === "connect") socket.hear("connect");
    else if (step.do === "answer") asked.push(socket.answer("watch", step.reply));
    else if (step.do === "refuse") asked.push(socket.refuse("watch", step.error));
    else if (step.do === "job") socket.hear("job", step.event);
    else this.#cut();
  }

  #cut(): void {
    this.socket.hear("disconnect", "transport close");
    for (const [, payload, answer] of this.socket.asked.splice(0)) {
      this.asked.push(payload);
      answer(new Error("socket has been disconnected"));
    }
  }
}

export async function answer(steps: Step[]): Promise<object> {
  const session = new Session();
  const watched = new Client(session.socket.itself).watch("job");
  const events: JobEvent[] = [];
  const [given, told] = [events, { recovered: true, end: "" }];
  watched.addEventListener("snapshot", ({ detail }) => (told.recovered &&= detail.recovered));
  const read = async () => {
    for await (const event of watched) given.push(event);
    return "ended";
  };
  void read().then(
    (end) => (told.end = end),
    (error) => (told.end = error.code),
  );
  for (const step of steps) {
    session.take(step);
    await settled();
  }
  return { events, ...told, asked: [...session.asked], snapshot: look(watched.snapshot), cursor: cursorOf(session) };
}

// The cursor with which the client would go on after a cut; null if it does not go on.
function cursorOf(session: Session): unknown {
  session.take({ do: "disconnect" });
  const before = session.asked.length;
  session.take({ do: "connect" });
  session.take({ do: "disconnect" });
  const [payload] = session.asked.slice(before) as { cursor?: string }[];
  return payload?.cursor ?? null;
}

/** Let all that is due happen. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
