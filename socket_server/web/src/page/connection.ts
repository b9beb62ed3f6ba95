/** Shows the state of the connection on the page. */
import type { ConnectionState } from "../client/client.js";
import { byId, setNote } from "./dom.js";

const STATES: Record<ConnectionState, string> = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Reconnecting…",
  refused: "Refused",
  closed: "",
};
const PATIENCE = 4000; // milliseconds of reconnecting before the banner says so
const SHOWN = 6000; // milliseconds for which "Live, nothing missed" is shown
const AWAY = "The connection was lost; trying again.";
const GAP = "While the connection was lost, some lines of a log may have been missed; all else is up to date.";

/** Milliseconds after a reconnect in which replies for followed jobs count as resumed. */
const RESUMING = 10_000;

let away = false;
let resuming = 0;
let patience: ReturnType<typeof setTimeout> | undefined;
let fading: ReturnType<typeof setTimeout> | undefined;

/** Show a state, with a sentence in the banner if there is a message or reconnecting takes long. */
export function showConnection(state: ConnectionState, message = ""): void {
  document.body.dataset["connection"] = state;
  say(STATES[state]);
  if (state === "live" && away) resuming = performance.now() + RESUMING;
  away = state === "reconnecting" || (away && state !== "live");
  // The banner moves the page, so a short interruption does not show it.
  if (state === "reconnecting") patience ??= setTimeout(() => setNote(byId("banner"), message || AWAY), PATIENCE);
  else settle(message);
}

/** Show that jobs resumed without a gap, or that events may be missing. */
export function showResumed(recovered: boolean): void {
  if (performance.now() > resuming) return; // no reconnect: the job is followed for the first time
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
