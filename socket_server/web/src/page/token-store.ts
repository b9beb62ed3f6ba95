/** Moves the page's token from the address bar into this tab's session storage. */

const KEY = "taskbridge.token";

/** Return the token of `#token=…`, which moves from the URL to the store; else the stored one. */
export function takeToken(): string | null {
  const hash = new URLSearchParams(location.hash.slice(1));
  const given = hash.get("token");
  if (given === null) return stored();
  // Removed from the address bar, it does not get into screenshots, bookmarks or copied links.
  hash.delete("token");
  const rest = hash.size ? `#${hash}` : "";
  history.replaceState(history.state, "", location.pathname + location.search + rest);
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
