/** Entry point of the page: the live jobs of a token, and a form to start one. */
import { connect, type Client } from "../client/client.js";
import { readToken, type TokenGrant } from "../client/token.js";
import { barsStyle } from "../view/bars-style.js";
import { stepsStyle } from "../view/steps-style.js";
import { Board } from "./board.js";
import { callOf, remember, type Call } from "./calls.js";
import { showConnection, showResumed } from "./connection.js";
import { byId, setNote } from "./dom.js";
import { flowerOf } from "./flower.js";
import { offer, setUpForm } from "./form.js";
import "./style.css";
import { keep, takeToken } from "./token-store.js";

const EXPIRES = "The token expires soon: open this page with a new one to go on watching.";

let client: Client | null = null;
let board: Board | null = null;

function open(): void {
  const token = takeToken();
  client?.close();
  board?.clear();
  const grant = readToken(token ?? "");
  byId("no-token").hidden = token !== null;
  byId("owner").textContent = grant.owner ?? "";
  byId("start").hidden = true; // until it is known which tasks clients may start
  showConnection(token === null ? "closed" : "connecting");
  if (token !== null) follow(token, grant);
}

function follow(token: string, grant: TokenGrant): void {
  let current = token;
  const mine = (client = connect({ url: new URL(".", location.href).href, token, transports: transports() }));
  const shown = (board = new Board(mine, { grant, again: (job) => void again(job), resumed: showResumed }));
  mine.addEventListener("state", ({ detail: { state, message } }) => {
    if (mine !== client) return;
    showConnection(state, message);
    if (state !== "live") return;
    shown
      .load()
      .then(() => point(shown))
      .catch((error: Error) => setNote(byId("banner"), error.message));
    void learn(current, shown).then(() => (byId("start").hidden = mine !== client || !grant.allows("enqueue")));
  });
  mine.addEventListener("token_renewed", ({ detail }) => {
    if (mine === client && detail.token) keep((current = detail.token));
  });
  mine.addEventListener("token_expiring", () => {
    if (mine === client) setNote(byId("banner"), EXPIRES);
  });
}

// Scrolls to the job of a link with #job=<id>, as Flower shows to operators.
async function point(shown: Board): Promise<void> {
  const job = linked();
  if (job) await shown.show(job);
}

function linked(): string | null {
  return new URLSearchParams(location.hash.slice(1)).get("job");
}

// Gets the tasks that clients may start and Flower's URL, which the token does not contain.
async function learn(token: string, shown: Board): Promise<void> {
  try {
    const answer = await fetch("api/page", { headers: { Authorization: `Bearer ${token}` } });
    if (!answer.ok) return;
    const { tasks, flower_url: flower } = (await answer.json()) as { tasks: string[]; flower_url: string | null };
    shown.flower = flowerOf(flower);
    offer(tasks);
  } catch {
    return; // optional: the page works without
  }
}

// WebSocket alone, unless the page is opened with ?transports=websocket,polling (and the server
// offers both: TASKBRIDGE_TRANSPORTS).
function transports(): ("websocket" | "polling")[] {
  const asked = new URLSearchParams(location.search).get("transports")?.split(",") ?? [];
  const known = asked.filter((name): name is "websocket" | "polling" => name === "websocket" || name === "polling");
  return known.length ? known : ["websocket"];
}

async function start(call: Call): Promise<void> {
  if (!client || !board) return;
  const { name, ...given } = call;
  const watched = await client.enqueue(name, given);
  remember(watched.job, call);
  board.reveal(watched.job);
}

async function again(job: string): Promise<void> {
  const call = callOf(job);
  if (call) await start(call).catch((error: Error) => setNote(byId("banner"), error.message));
}

const sheets = [barsStyle, stepsStyle].flatMap(({ styleSheet }) => styleSheet ?? []);
document.adoptedStyleSheets = [...document.adoptedStyleSheets, ...sheets];
setUpForm(byId<HTMLFormElement>("start-form"), byId("start-message"), start);
addEventListener("hashchange", () => {
  if (new URLSearchParams(location.hash.slice(1)).has("token")) open();
  else if (board) point(board).catch((error: Error) => setNote(byId("banner"), error.message));
});
open();
