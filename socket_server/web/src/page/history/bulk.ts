/** What is asked for many jobs at once, page by page, and what is said of it. */
import type { Client } from "../../client/client.js";
import type { State } from "../../client/protocol.js";
import type { BulkRefusal, BulkRequest } from "../../client/protocol.generated.js";
import type { Search } from "../address.js";

export type Action = BulkRequest["action"];
export type Filter = NonNullable<BulkRequest["filter"]>;

/** What was done so far, or of a preview, what would be. */
export interface Outcome {
  acted: number;
  refused: BulkRefusal[];
  away: boolean;
}

/** Milliseconds by which times are told apart: `until` excludes its own. */
const STEP = 0.001;
const AWAY = " The archive does not answer: jobs that the server has forgotten are left out.";

/** The filter of a request; without jobs that came after the newest one that the reader has seen. */
export function filterOf(search: Search, newest: number | null): Filter {
  const filter: Filter = {};
  for (const name of ["text", "name", "owner"] as const) if (search[name]) filter[name] = search[name];
  if (search.state) filter.state = search.state as State;
  if (search.since) filter.since = Number(search.since);
  const until = Math.min(search.until ? Number(search.until) : Infinity, newest === null ? Infinity : newest + STEP);
  if (Number.isFinite(until)) filter.until = until;
  return filter;
}

/** Ask until nothing is left; `progress` is called after each answer. Rejects with a `RequestError`. */
export async function askInBulk(
  client: Pick<Client, "bulk">,
  request: BulkRequest,
  progress: (outcome: Outcome) => void,
): Promise<Outcome> {
  const outcome: Outcome = { acted: 0, refused: [], away: false };
  let next: string | undefined;
  do {
    const answer = await client.bulk(next === undefined ? request : { ...request, next });
    outcome.acted += answer.jobs.length;
    outcome.refused.push(...answer.refused);
    outcome.away ||= answer.archive_away ?? false;
    next = answer.next;
    progress(outcome);
  } while (next !== undefined);
  return outcome;
}

/** The reasons of refusals, the most frequent first. */
export function reasonsOf({ refused }: Outcome): { message: string; count: number }[] {
  const counts = new Map<string, number>();
  for (const { job, message } of refused) {
    const words = message.split(" ").map((word) => (word === job ? "…" : word)); // alike but for the id
    const reason = words.join(" ");
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  const reasons = [...counts].map(([message, count]) => ({ message, count }));
  return reasons.sort((one, other) => other.count - one.count);
}

export function sum(numbers: number[]): number {
  return numbers.reduce((all, one) => all + one, 0);
}

type Said = (outcome: Outcome) => string;

function jobs(count: number): string {
  return count === 1 ? "1 job" : `${count.toLocaleString("en")} jobs`;
}

/** Texts of the dialog of each action. */
export const WORDS: Record<Action, { title: string; preview: Said; button: Said; doing: Said; done: Said }> = {
  run_again: {
    title: "Run all again",
    preview: ({ acted, away }) =>
      `${acted ? `${jobs(acted)} will run again, each once.` : "None of these jobs can run again."}${away ? AWAY : ""}`,
    button: ({ acted }) => `Run ${jobs(acted)} again`,
    doing: ({ acted }) => `${jobs(acted)} run again so far…`,
    done: ({ acted, away }) => `${jobs(acted)} ${acted === 1 ? "runs" : "run"} again.${away ? AWAY : ""}`,
  },
  cancel: {
    title: "Cancel all",
    preview: ({ acted, away }) =>
      `${acted ? `${jobs(acted)} will be cancelled.` : "None of these jobs can be cancelled."}${away ? AWAY : ""}`,
    button: ({ acted }) => `Cancel ${jobs(acted)}`,
    doing: ({ acted }) => `${jobs(acted)} cancelled so far…`,
    done: ({ acted, away }) => `${jobs(acted)} ${acted === 1 ? "is" : "are"} being cancelled.${away ? AWAY : ""}`,
  },
};

/** Which actions make sense for a search: ended jobs run again, others are cancelled. */
export function actionsFor({ state }: Search): Action[] {
  if (!state) return ["run_again", "cancel"];
  return ["succeeded", "failed", "lost", "cancelled"].includes(state) ? ["run_again"] : ["cancel"];
}
