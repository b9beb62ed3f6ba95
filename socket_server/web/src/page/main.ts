/** Entry point of the page: the live jobs of a token, its history, a page for each job, and a form to start one. */
import { connect, type Client } from "../client/client.js";
import type { RequestError } from "../client/errors.js";
import type { PageAnswer } from "../client/protocol.generated.js";
import { readToken, type TokenGrant } from "../client/token.js";
import { barsStyle } from "../view/bars-style.js";
import { stepsStyle } from "../view/steps-style.js";
import { fragmentOf, jobHash, placeOf } from "./address.js";
import { Api } from "./api.js";
import { Board } from "./board.js";
import { callOf, remember, type Call } from "./calls.js";
import { showConnection, showResumed } from "./connection.js";
import { byId, setNote } from "./dom.js";
import { flowerOf } from "./flower.js";
import { offer, setUpForm } from "./form.js";
import { History } from "./history/history.js";
import { JobPage } from "./job/job-page.js";
import "./style.css";
import "./views.css";
import { keep, takeToken } from "./token-store.js";
import { enter, setTitle } from "./views.js";

const EXPIRES = "The token expires soon: open this page with a new one to go on watching.";

/** All that belongs to one token. */
interface Session {
  client: Client;
  api: Api;
  grant: TokenGrant;
  board: Board;
  history: History;
  /** Page of the job that is shown; null while none is. */
  job: JobPage | null;
  /** URL of Flower. */
  flower: string | undefined;
}

let session: Session | null = null;

function open(): void {
  const token = takeToken();
  close();
  const grant = readToken(token ?? "");
  byId("no-token").hidden = token !== null;
  byId("views").hidden = token === null;
  byId("owner").textContent = grant.owner ?? "";
  byId("start").hidden = true; // until it is known which tasks clients may start
  showConnection(token === null ? "closed" : "connecting");
  if (token !== null) follow(token, grant);
  route();
}

function close(): void {
  session?.job?.close();
  session?.history.close();
  session?.board.clear();
  session?.client.close();
  session = null;
}

function follow(token: string, grant: TokenGrant): void {
  let current = token;
  const client = connect({ url: new URL(".", location.href).href, token, transports: transports() });
  const api = new Api(() => ({ token: current, shard: client.shard }));
  const titled = (text: string) => setTitle("live", text);
  const board = new Board(client, { grant, again: (job) => void runAgain(job), resumed: showResumed, titled });
  const history = new History({ client, api, grant, go });
  const mine: Session = (session = { client, api, grant, board, history, job: null, flower: undefined });
  byId("to-history").hidden = !history.allowed;
  client.addEventListener("state", ({ detail: { state, message } }) => {
    if (mine !== session) return;
    showConnection(state, message);
    if (state !== "live") return;
    board
      .load()
      .then(() => point(board))
      .catch(complain);
    void learn(mine).then(() => (byId("start").hidden = mine !== session || !grant.allows("enqueue")));
  });
  client.addEventListener("token_renewed", ({ detail }) => {
    if (mine === session && detail.token) keep((current = detail.token));
  });
  client.addEventListener("token_expiring", () => {
    if (mine === session) setNote(byId("banner"), EXPIRES);
  });
}

// Shows what the address names.
function route(): void {
  const place = placeOf(location.hash);
  const mine = session;
  if (mine?.job && (place.view !== "job" || place.job !== mine.job.job)) {
    mine.job.close();
    mine.job = null;
  }
  if (place.view !== "history") mine?.history.hide();
  enter(place.view, () => {
    if (place.view === "history") mine?.history.open(place.search);
    if (place.view === "job" && mine) mine.job ??= pageOf(mine, place.job);
  });
  if (place.view === "live" && mine?.client.state === "live") point(mine.board).catch(complain);
}

// Goes to an address; with `typed`, in the place of the one before.
function go(hash: string, typed: boolean): void {
  if (!typed) location.hash = hash;
  else history.replaceState(history.state, "", hash);
  if (typed) route();
}

function pageOf(mine: Session, job: string): JobPage {
  const { client, api, grant } = mine;
  const again = async (key: string) => visit(await repeat(mine, job, key));
  const titled = (text: string) => setTitle("job", text);
  return new JobPage(job, {
    client,
    api,
    grant,
    flower: () => mine.flower,
    again: grant.allows("enqueue") ? again : undefined,
    titled,
  });
}

// Scrolls to the job of a link with #job=<id>, as Flower shows to operators.
async function point(board: Board): Promise<void> {
  const place = placeOf(location.hash);
  if (place.view === "live" && place.job) await board.show(place.job);
}

// Gets what the token does not contain: tasks that clients may start, Flower's URL, and whether there is an archive.
async function learn(mine: Session): Promise<void> {
  try {
    const { tasks, flower_url: url, archive } = await mine.api.json<PageAnswer>("api/page");
    mine.board.flower = mine.flower = flowerOf(url);
    mine.history.archived = archive;
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

// Starts a job, and returns its id; null without a token.
async function start(call: Call): Promise<string | null> {
  const mine = session;
  if (!mine) return null;
  const { name, ...given } = call;
  const watched = await mine.client.enqueue(name, given);
  watched.addEventListener("change", ({ detail }) => detail.ended && watched.close());
  remember(watched.job, call);
  mine.board.reveal(watched.job);
  return watched.job;
}

// The server may not have kept how the job was called, and this tab may.
async function repeat({ client }: Session, job: string, key: string): Promise<string | null> {
  try {
    return await client.runAgain(job, key);
  } catch (error) {
    const call = (error as RequestError).temporary ? undefined : callOf(job);
    if (!call) throw error;
    return start(call);
  }
}

async function runAgain(job: string): Promise<string | null> {
  const call = callOf(job);
  return call ? start(call).catch(complain) : null;
}

function visit(job: string | null): void {
  if (job) location.hash = jobHash(job);
}

function complain(error: Error): null {
  setNote(byId("banner"), error.message);
  return null;
}

const sheets = [barsStyle, stepsStyle].flatMap(({ styleSheet }) => styleSheet ?? []);
document.adoptedStyleSheets = [...document.adoptedStyleSheets, ...sheets];
setUpForm(byId<HTMLFormElement>("start-form"), byId("start-message"), async (call) => void (await start(call)));
addEventListener("hashchange", () => {
  if (fragmentOf(location.hash).query.has("token")) open();
  else route();
});
open();
