/** The token that the page was opened with: from the address bar, kept for this tab. */

const KEY = "taskbridge.token";

/** Take the token out of `#token=…` (and out of the address bar), else the one kept; or null. */
export function takeToken(): string | null {
  const hash = new URLSearchParams(location.hash.slice(1));
  const given = hash.get("token");
  if (given === null) return stored();
  // Gone from the address bar, it is not in a screenshot, a bookmark or a copied link.
  hash.delete("token");
  const rest = hash.size ? `#${hash}` : "";
  history.replaceState(history.state, "", location.pathname + location.search + rest);
  const token = given.trim();
  keep(token);
  return token || null;
}

// A browser may forbid storage to a page; the token then lasts until the next reload.
function keep(token: string): void {
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
