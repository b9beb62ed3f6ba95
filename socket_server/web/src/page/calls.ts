/** What this page asked for, so that it can be asked for again; kept for this tab. */
const KEY = "taskbridge.calls";
const MOST = 100;

export interface Call {
  name: string;
  args?: unknown[];
  kwargs?: Record<string, unknown>;
}

/** The call that started a job, if this tab made it. */
export function callOf(job: string): Call | undefined {
  return read().find(([id]) => id === job)?.[1];
}

/** Remember the call that started a job. */
export function remember(job: string, call: Call): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify([...read(), [job, call]].slice(-MOST)));
  } catch {
    // A browser may forbid storage to a page, or have no room: then there is no "run again".
  }
}

function read(): [string, Call][] {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "[]") as [string, Call][];
  } catch {
    return [];
  }
}
