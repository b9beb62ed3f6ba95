/** Connections that the elements of a page share: one for each server and token. */
import { connect, type Client } from "../client/client.js";
import { keepRenewed, renewedOf } from "./renewed-token.js";

export type Tokens = string | (() => Promise<string>);

interface Shared {
  client: Client;
  users: number;
}

const shared = new Map<string, Map<Tokens, Shared>>();

/** Return the shared connection to a server with a token, or with a function that returns one. */
export function join(url: string, token: Tokens): Client {
  const ofServer = shared.get(url) ?? new Map<Tokens, Shared>();
  shared.set(url, ofServer);
  let one = ofServer.get(token);
  if (!one || one.client.state === "closed") {
    const client = typeof token === "string" ? withToken(url, token) : connect({ url, getToken: token });
    one = { client, users: 0 };
    ofServer.set(token, one);
  }
  one.users += 1;
  return one.client;
}

function withToken(url: string, token: string): Client {
  const client = connect({ url, token: renewedOf(token) });
  client.addEventListener("token_renewed", ({ detail }) => keepRenewed(token, detail.token ?? ""));
  return client;
}

/** Give up a share of a connection; it is closed with the last one. */
export function leave(url: string, token: Tokens): void {
  const one = shared.get(url)?.get(token);
  if (!one) return;
  one.users -= 1;
  if (one.users > 0) return;
  shared.get(url)?.delete(token);
  one.client.close();
}
