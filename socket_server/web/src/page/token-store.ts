/** Moves the page's token from the address bar into this tab's session storage. */
import { fragmentOf, hashOf } from "./address.js";

const KEY = "taskbridge.token";

/** Return the token of `#token=…` or `#/jobs/<id>?token=…`, which moves from the URL to the store; else the stored one. */
export function takeToken(): string | null {
  const fragment = fragmentOf(location.hash);
  const given = fragment.query.get("token");
  if (given === null) return stored();
  // Removed from the address bar, it does not get into screenshots, bookmarks or copied links.
  fragment.query.delete("token");
  history.replaceState(history.state, "", location.pathname + location.search + hashOf(fragment));
  const token = given.trim();
  keep(token);
  return token || null;
}

/** Keep a token for a reload; storage may be forbidden, and the token is lost then. */
export function keep(token: string): void {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    return;
  }
}

function stored(): string | null {
  try {
    return sessionStorage.getItem(KEY) || null;
  } catch {
    return null;
  }
}
