/** `readToken`: the claims of a token, unverified, for display only; the server verifies them. */
export interface TokenGrant {
  owner: string | null;
  jobs: string[];
  allows(scope: "watch" | "cancel" | "enqueue" | "operate"): boolean;
}

/** Read a token's claims; one that cannot be read allows nothing. */
export function readToken(token: string): TokenGrant {
  const claims = payload(token);
  const { sub, jobs } = claims;
  const scope = typeof claims["scope"] === "string" ? claims["scope"].split(" ") : [];
  return {
    owner: typeof sub === "string" ? sub : null,
    jobs: Array.isArray(jobs) ? jobs.filter((job): job is string => typeof job === "string") : [],
    allows: (name) => scope.includes(name),
  };
}

function payload(token: string): Record<string, unknown> {
  try {
    const text = atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    return (JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown> | null) ?? {};
  } catch {
    return {};
  }
}
