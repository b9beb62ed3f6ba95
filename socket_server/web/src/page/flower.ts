/** Links to Flower. */
import { legible } from "../client/legible.js";

/** URL of Flower without a trailing slash; undefined unless it is an http or https URL. */
export function flowerOf(url: string | null): string | undefined {
  return url !== null && /^https?:\/\//i.test(url) ? url.replace(/\/$/, "") : undefined;
}

/** URL of a task in Flower; the id is escaped, since its publisher may choose any text. */
export function taskIn(flower: string, task: string): string {
  return `${flower}/task/${encodeURIComponent(legible(task))}`;
}
