/** Links to Flower. */
import { legible } from "../client/legible.js";

/** Where Flower is, without the slash at its end; undefined for what is no address of a page. */
export function flowerOf(url: string | null): string | undefined {
  return url !== null && /^https?:\/\//i.test(url) ? url.replace(/\/$/, "") : undefined;
}

/** Where Flower shows a task, whose id is whatever its publisher chose. */
export function taskIn(flower: string, task: string): string {
  return `${flower}/task/${encodeURIComponent(legible(task))}`;
}
