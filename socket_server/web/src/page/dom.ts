/** Helpers for the elements of index.html. Text is never parsed as HTML. */

/** The element of the page with an id. */
export function byId<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html lacks #${id}`);
  return found as Kind;
}

/** Show text in an element. */
export function setText(node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** Show text in an element, or hide the element if the text is empty. */
export function setNote(node: HTMLElement, text: string): void {
  setText(node, text);
  node.hidden = text === "";
}
