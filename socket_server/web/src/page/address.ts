/**
 * `Place`: what the page shows, as the fragment of its address says: `#/history?state=failed`, `#/jobs/<id>`,
 * and else the live jobs, of which `#job=<id>` names one. All of it is behind the `#`, so that an address
 * holds behind any prefix of a proxy.
 */

/** Fields of a search, named as those of `GET /api/jobs`; "" for one that is not set. */
export interface Search {
  text: string;
  state: string;
  name: string;
  owner: string;
  /** Seconds since the epoch. */
  since: string;
  until: string;
}

export const FIELDS = ["text", "state", "name", "owner", "since", "until"] as const satisfies readonly (keyof Search)[];
export const NO_SEARCH: Search = { text: "", state: "", name: "", owner: "", since: "", until: "" };

export type Place =
  { view: "live"; job: string | null } | { view: "history"; search: Search } | { view: "job"; job: string };
export type ViewName = Place["view"];

/** A fragment, taken apart: `path` begins with a slash or is empty. */
export interface Fragment {
  path: string;
  query: URLSearchParams;
}

/** Take a fragment apart, with or without its `#`. */
export function fragmentOf(hash: string): Fragment {
  const text = hash.replace(/^#/, "");
  if (!text.startsWith("/")) return { path: "", query: new URLSearchParams(text) };
  const [path = "", ...rest] = text.split("?");
  return { path, query: new URLSearchParams(rest.join("?")) };
}

/** Put a fragment together; "" for an empty one, else it begins with `#`. */
export function hashOf({ path, query }: Fragment): string {
  const fields = query.toString();
  if (!path) return fields && `#${fields}`;
  return `#${path}${fields && `?${fields}`}`;
}

/** What a fragment names; the live jobs for one that cannot be understood. */
export function placeOf(hash: string): Place {
  const { path, query } = fragmentOf(hash);
  if (path === "/history") return { view: "history", search: searchOf(query) };
  const job = /^\/jobs\/([^/]+)$/.exec(path)?.[1];
  const id = job === undefined ? null : decoded(job);
  if (id) return { view: "job", job: id };
  return { view: "live", job: query.get("job") };
}

/** Address of a search. */
export function historyHash(search: Search): string {
  const query = new URLSearchParams();
  for (const field of FIELDS) if (search[field]) query.set(field, search[field]);
  return hashOf({ path: "/history", query });
}

/** Address of a job's own page. */
export function jobHash(job: string): string {
  return `#/jobs/${encodeURIComponent(job)}`;
}

function searchOf(query: URLSearchParams): Search {
  const search = { ...NO_SEARCH };
  for (const field of FIELDS) search[field] = query.get(field)?.trim() ?? "";
  return search;
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
