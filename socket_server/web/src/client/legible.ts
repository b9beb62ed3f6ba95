/** Makes untrusted text safe to show: removes escape sequences and invisible characters. */

// Escape sequences (ECMA-48), as bridge/printable.py removes them.
const SEQUENCES =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b[P\]X^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u0018\u001a\u001b\u0090\u0098\u009b-\u009f]*(?:\u0007|\u001b\\|\u009c)|\u001b[ -/]*[0-~]/g;
// Controls except tab and newline; format characters (bidirectional overrides and isolates,
// zero-width characters) except the two joiners, which emoji and some scripts need; halves of
// surrogate pairs; line and paragraph separators.
const HIDDEN = /(?![\t\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

export function legible(text: unknown): string {
  return String(text).replace(SEQUENCES, "").replace(HIDDEN, "");
}
