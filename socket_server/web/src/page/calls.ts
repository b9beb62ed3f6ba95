/** Calls that started jobs, kept in this tab's session storage for "Run again". */
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
    // Storage may be forbidden or full: the job then has no "Run again".
  }
}

function read(): [string, Call][] {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "[]") as [string, Call][];
  } catch {
    return [];
  }
}
