/**
 * Keeps the renewed token of a page's token in this tab's session storage, for a reload of the page.
 *
 * It is used only where the page comes with the token from which it was made: a page that is rendered
 * anew, with another token, or for another user, does not get it.
 */
import { readToken } from "../client/token.js";

interface Renewed {
  of: string;
  token: string;
}

// Only a token of a single job is renewed.
const keyOf = (token: string): string => `taskbridge.renewed.${readToken(token).jobs[0]}`;

/** Return the token that came last of a page's token; that token itself if there was none. */
export function renewedOf(token: string): string {
  try {
    const kept = JSON.parse(sessionStorage.getItem(keyOf(token)) ?? "null") as Partial<Renewed> | null;
    return kept?.of === token && typeof kept.token === "string" ? kept.token : token;
  } catch {
    return token;
  }
}

/** Keep a renewed token; without storage it is lost at the next reload. */
export function keepRenewed(of: string, token: string): void {
  try {
    sessionStorage.setItem(keyOf(of), JSON.stringify({ of, token } satisfies Renewed));
  } catch {
    return;
  }
}
