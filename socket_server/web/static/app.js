/** The page: the owner's jobs, live, and a form to start one. */
import { setHidden, setNote, setText } from "./dom.js";
import { setUpForm } from "./form.js";
import { Board } from "./board.js";
import { readToken, takeToken } from "./token.js";

const part = (id) => document.getElementById(id);
const STATES = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Reconnecting…",
  refused: "Refused",
  closed: "",
};

const PATIENCE = 4000; // milliseconds
const AWAY = "The connection was lost; trying again.";

let client = null;
let patience = 0;
let board = null;

async function open() {
  const token = takeToken();
  client?.close();
  board?.clear();
  const grant = readToken(token ?? "");
  setHidden(part("no-token"), token !== null);
  setText(part("owner"), grant.owner ?? "");
  setHidden(part("start"), token === null || !grant.allows("enqueue"));
  settle("");
  if (token === null) return show("closed");
  show("connecting");
  return follow(token, grant);
}

async function follow(token, grant) {
  const library = await load();
  if (library === null) return;
  client = library.connect({ token, transports: transports() });
  board = new Board(client, grant);
  const mine = client;
  mine.addEventListener("state", ({ detail }) => {
    if (mine === client) stateChanged(detail);
  });
  mine.addEventListener("token_expiring", () => {
    if (mine === client) setNote(part("banner"), "The token expires soon: open this page with a new one to go on watching.");
  });
}

function stateChanged({ state, message }) {
  show(state);
  // A connection that is back in a moment is not worth a sentence that moves the page.
  if (state === "reconnecting") patience ||= setTimeout(setNote, PATIENCE, part("banner"), message || AWAY);
  else settle(message);
  if (state === "live") board.load().catch((error) => setNote(part("banner"), error.message));
}

function settle(message) {
  clearTimeout(patience);
  patience = 0;
  setNote(part("banner"), message);
}

// Loaded here and not at the top, so that a server without the file says so instead of nothing.
async function load() {
  try {
    return await import("./client.js");
  } catch {
    show("refused");
    setNote(part("banner"), "The server lacks its copy of socket.io-client: run `make web` where it is installed, and reload.");
    return null;
  }
}

// WebSocket alone, unless the page is opened with ?transports=websocket,polling (and the server
// offers both: TASKBRIDGE_TRANSPORTS).
function transports() {
  const asked = new URLSearchParams(location.search).get("transports")?.split(",") ?? [];
  const known = asked.filter((name) => name === "websocket" || name === "polling");
  return known.length ? known : ["websocket"];
}

function show(state) {
  document.body.dataset.connection = state;
  setText(part("connection"), STATES[state]);
}

setUpForm(part("start-form"), part("start-message"), async (name, kwargs) => {
  const { job } = await client.enqueue(name, { kwargs });
  board.reveal(job);
});
addEventListener("hashchange", () => {
  if (new URLSearchParams(location.hash.slice(1)).has("token")) open();
});
open();
