/** Patterns of TASKBRIDGE_TASKS, as Python's `fnmatch.fnmatchcase` reads them. */

/** Whether a name matches a pattern, in which `*`, `?`, `[…]` and `[!…]` stand for other characters. */
export function matches(name: string, pattern: string): boolean {
  return expression(pattern).test(name);
}

function expression(pattern: string): RegExp {
  const parts = pattern.match(/\*|\?|\[!?\]?[^\]]*\]|[^]/gu) ?? [];
  return new RegExp(`^${parts.map(part).join("")}$`, "su");
}

function part(text: string): string {
  if (text === "*") return ".*";
  if (text === "?") return ".";
  if (text.length < 3 || !text.startsWith("[")) return escaped(text);
  const not = text[1] === "!";
  const set = text.slice(not ? 2 : 1, -1).replace(/[\\\]^[]/g, "\\$&");
  return `[${not ? "^" : ""}${set}]`;
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
