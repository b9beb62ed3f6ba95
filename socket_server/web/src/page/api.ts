/** `Api`: what the page asks over HTTP, with its token. */
import { RequestError, refusal, type ErrorObject } from "../client/errors.js";

const AWAY = "The server cannot be reached right now: try again in a moment.";
/** Times that a request is sent again which was refused because there were too many, and the wait between, in milliseconds. */
const [TIMES, WAIT] = [20, 1000];

/** What the page asks with: the newest token, and the shard that the server named, if it did. */
export interface Access {
  token: string;
  shard: number | undefined;
}

export class Api {
  #access: () => Access;

  /** `access` is called for each request: a token may be renewed. */
  constructor(access: () => Access) {
    this.#access = access;
  }

  /** The JSON that a path answers; `path` is relative to the page. Rejects with a `RequestError`. */
  async json<Answer>(path: string, query: Record<string, string | number> = {}, signal?: AbortSignal): Promise<Answer> {
    const answer = await this.get(path, query, signal);
    return (await answer.json().catch(() => raise(signal))) as Answer;
  }

  /** The response to a request that was not refused; rejects with a `RequestError`, or as `signal` says. */
  async get(path: string, query: Record<string, string | number> = {}, signal?: AbortSignal): Promise<Response> {
    for (let left = TIMES; ; left -= 1) {
      const response = await this.#fetch(path, query, signal);
      if (response.ok) return response;
      const error = refusal(await errorOf(response));
      if (error.code !== "too_many_requests" || left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, WAIT * (0.5 + Math.random())));
    }
  }

  async #fetch(path: string, query: Record<string, string | number>, signal?: AbortSignal): Promise<Response> {
    const { token, shard } = this.#access();
    const fields = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
    if (shard !== undefined) fields.set("shard", String(shard));
    const headers = { Authorization: `Bearer ${token}` };
    const asked = fields.size ? `${path}?${fields}` : path;
    return fetch(asked, { headers, ...(signal ? { signal } : {}) }).catch(() => raise(signal));
  }
}

// What was aborted is no failure of the server.
function raise(signal?: AbortSignal): never {
  signal?.throwIfAborted();
  throw new RequestError("unavailable", AWAY);
}

async function errorOf(response: Response): Promise<ErrorObject | undefined> {
  const answer = (await response.json().catch(() => null)) as { error?: ErrorObject } | null;
  return answer?.error;
}
