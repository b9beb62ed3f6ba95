/** Text of others as a reader may see it: what a terminal would obey, or what hides or turns letters, is removed. */

// Escape sequences (ECMA-48), as bridge/printable.py removes them.
const SEQUENCES =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b[P\]X^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u0018\u001a\u001b\u0090\u0098\u009b-\u009f]*(?:\u0007|\u001b\\|\u009c)|\u001b[ -/]*[0-~]/g;
// Controls but tabs and ends of lines; format characters (bidirectional overrides and isolates, those
// of no width) but the two joiners, which emoji and some scripts need; halves of surrogate pairs.
const HIDDEN = /(?![\t\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

export function legible(text: unknown): string {
  return String(text).replace(SEQUENCES, "").replace(HIDDEN, "");
}
