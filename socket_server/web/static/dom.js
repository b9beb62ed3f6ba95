/** Small DOM steps that touch the page only when something changed. Text is never read as HTML. */

/** A copy of a template's first element. */
export function clone(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

/** Set an attribute, or remove it where `value` is null. */
export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** An element with text. */
export function element(tag, text = "", className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

/** Show text in a paragraph, or hide the paragraph where there is none. */
export function setNote(node, text) {
  setText(node, text);
  setHidden(node, text === "");
}
