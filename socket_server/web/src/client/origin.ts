/** `originRefusal`: whether a server lets pages of this page's origin in. */

/**
 * Ask a server; returns its sentence if it does not, "" if it does, null if that stays unknown: the
 * server does not answer, or is of version 0.1.0.
 */
export async function originRefusal(server: URL): Promise<string | null> {
  const path = `${server.origin}${server.pathname.replace(/\/$/, "")}/api/origin`;
  try {
    const reply = await fetch(`${path}?origin=${encodeURIComponent(location.origin)}`, { credentials: "omit" });
    const answer = (await reply.json()) as { ok?: unknown; error?: { message?: unknown } | null };
    if (answer.ok === true) return "";
    return typeof answer.error?.message === "string" ? answer.error.message : null;
  } catch {
    return null;
  }
}
