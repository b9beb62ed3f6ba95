/** Makes untrusted text safe to show: removes escape sequences and invisible characters. */

// Escape sequences (ECMA-48), as bridge/printable.py removes them.
const SEQUENCES =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b[P\]X^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u0018\u001a\u001b\u0090\u0098\u009b-\u009f]*(?:\u0007|\u001b\\|\u009c)|\u001b[ -/]*[0-~]/g;
// Controls and separators that begin a new line or page: a space keeps the words apart.
const BREAKS = /[\r\v\f\u001c-\u001f\u0085\u2028\u2029]/g;
// Controls except tab and newline; format characters (bidirectional overrides and isolates,
// zero-width characters) except the two joiners, which emoji and some scripts need; halves of
// surrogate pairs; unassigned characters of no width.
const HIDDEN = /(?![\t\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\u{e0000}-\u{e00ff}\u{e01f0}-\u{e0fff}]/gu;
// Combining marks on one letter beyond eight, which cover the lines beside it; scripts need up to six.
const MARKS = /(\p{M}{8})\p{M}+/gu;
const PLAIN = /^[\t\n -~]*$/;

/** `printable` of bridge/printable.py does the same, without joiners. */
export function legible(text: unknown): string {
  const given = String(text);
  if (PLAIN.test(given)) return given;
  const one = given.replaceAll("\r\n", "\n").replace(SEQUENCES, "").replace(BREAKS, " ");
  return one.replace(HIDDEN, "").replace(MARKS, "$1");
}
