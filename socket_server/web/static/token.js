/** The token that the page was opened with: from the address bar, kept for this tab. */

const KEY = "taskbridge.token";

/** Take the token out of `#token=…` (and out of the address bar), else the one kept; or null. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return stored();
  // Gone from the address bar, it is not in a screenshot, a bookmark or a copied link.
  history.replaceState(history.state, "", location.pathname + location.search);
  const token = given.trim();
  keep(token);
  return token || null;
}

/** What the token says it allows, for display only: the server is who checks it. */
export function readToken(token) {
  const claims = payload(token);
  const scope = typeof claims.scope === "string" ? claims.scope.split(" ") : [];
  return {
    owner: typeof claims.sub === "string" ? claims.sub : null,
    jobs: Array.isArray(claims.jobs) ? claims.jobs.filter((job) => typeof job === "string") : [],
    allows: (name) => scope.includes(name),
  };
}

function payload(token) {
  try {
    const text = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {};
  }
}

// A browser may forbid storage to a page; the token then lasts until the next reload.
function keep(token) {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {}
}

function stored() {
  try {
    return sessionStorage.getItem(KEY) || null;
  } catch {
    return null;
  }
}
