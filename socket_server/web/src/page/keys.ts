/** Keys that lead through a list. */

type Key = Pick<KeyboardEvent, "key" | "altKey" | "ctrlKey" | "metaKey" | "shiftKey">;

/**
 * Index of the row that a key leads to; null for a key that does not.
 *
 * `current` is the row before, `count` the number of rows, and `page` that of those in sight.
 */
export function steered(event: Key, current: number, count: number, page: number): number | null {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || !count) return null;
  const steps: Record<string, number> = {
    ArrowDown: current + 1,
    ArrowUp: current - 1,
    PageDown: current + page,
    PageUp: current - page,
    Home: 0,
    End: count - 1,
  };
  const index = steps[event.key];
  return index === undefined ? null : Math.min(Math.max(index, 0), count - 1);
}
