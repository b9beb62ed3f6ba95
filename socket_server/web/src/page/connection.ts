/** The state of the connection, as the page shows it. */
import type { ConnectionState } from "../client/client.js";
import { byId, setNote } from "./dom.js";

const STATES: Record<ConnectionState, string> = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Reconnecting…",
  refused: "Refused",
  closed: "",
};
const PATIENCE = 4000; // milliseconds
const SHOWN = 6000; // milliseconds for which it is said that nothing was missed
const AWAY = "The connection was lost; trying again.";
const GAP = "While the connection was lost, some lines of a log may have been missed; all else is up to date.";

/** After a cut, a job that goes on says so within so many milliseconds. */
const RESUMING = 10_000;

let away = false;
let resuming = 0;
let patience: ReturnType<typeof setTimeout> | undefined;
let fading: ReturnType<typeof setTimeout> | undefined;

/** Show a state; what takes longer is said in a sentence. */
export function showConnection(state: ConnectionState, message = ""): void {
  document.body.dataset["connection"] = state;
  say(STATES[state]);
  if (state === "live" && away) resuming = performance.now() + RESUMING;
  away = state === "reconnecting" || (away && state !== "live");
  // A connection that is back in a moment is not worth a sentence that moves the page.
  if (state === "reconnecting") patience ??= setTimeout(() => setNote(byId("banner"), message || AWAY), PATIENCE);
  else settle(message);
}

/** Show that a job goes on where it was cut off, or that something may be missing. */
export function showResumed(recovered: boolean): void {
  if (performance.now() > resuming) return; // it is only that a job is followed now that was not before
  if (!recovered) {
    say("Live, with a gap");
    setNote(byId("banner"), GAP);
  } else if (byId("connection").textContent === STATES.live) {
    say("Live, nothing missed");
    fading = setTimeout(() => say(STATES.live), SHOWN);
  }
}

function say(text: string): void {
  clearTimeout(fading);
  byId("connection").textContent = text;
}

function settle(message: string): void {
  clearTimeout(patience);
  patience = undefined;
  setNote(byId("banner"), message);
}
