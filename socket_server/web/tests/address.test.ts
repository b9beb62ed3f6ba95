import { expect, test } from "vitest";
import { fragmentOf, hashOf, historyHash, jobHash, NO_SEARCH, placeOf } from "../src/page/address.js";

test("an address names the live jobs, one of them, a search, or a job, and comes back as it was", () => {
  expect(placeOf("")).toEqual({ view: "live", job: null });
  expect(placeOf("#/")).toEqual({ view: "live", job: null });
  expect(placeOf("#job=j%201")).toEqual({ view: "live", job: "j 1" });
  const search = { ...NO_SEARCH, text: "disk full & more", state: "failed", since: "1763846400" };
  expect(placeOf(historyHash(search))).toEqual({ view: "history", search });
  expect(historyHash(NO_SEARCH)).toBe("#/history");
  for (const job of ["j", "a/b?c#d&e=%", "größe <b>"]) expect(placeOf(jobHash(job))).toEqual({ view: "job", job });
});

test("an address that cannot be understood leads to the live jobs", () => {
  for (const hash of ["#/jobs/", "#/jobs/%E0%A4%A", "#/jobs/a/b", "#/nowhere", "#<script>"])
    expect(placeOf(hash)).toEqual({ view: "live", job: null });
});

test("a token is a field of each kind of address, and the rest stays without it", () => {
  for (const [hash, rest] of [
    ["#token=t", ""],
    ["#token=t&job=j", "#job=j"],
    ["#/jobs/j?token=t", "#/jobs/j"],
    ["#/history?state=failed&token=t", "#/history?state=failed"],
  ] as const) {
    const fragment = fragmentOf(hash);
    expect(fragment.query.get("token")).toBe("t");
    fragment.query.delete("token");
    expect(hashOf(fragment)).toBe(rest);
  }
});
