/** The form that starts a job. */
import { setText } from "./dom.js";

/** Bring the form to life; `start(name, kwargs)` returns a promise, and rejects with a sentence. */
export function setUpForm(form, message, start) {
  form.addEventListener("change", (event) => {
    if (event.target.name === "kind") showFields(form);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(form, message, start);
  });
  showFields(form);
}

function showFields(form) {
  for (const fields of form.querySelectorAll(".fields")) {
    const chosen = fields.dataset.kind === form.elements.kind.value;
    fields.hidden = !chosen;
    fields.disabled = !chosen; // what is not shown is neither required nor sent
  }
}

async function submit(form, message, start) {
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  setText(message, "");
  try {
    await start(form.elements.kind.value, valuesOf(form));
  } catch (error) {
    setText(message, error.message);
  }
  button.disabled = false;
}

function valuesOf(form) {
  const values = {};
  for (const input of form.querySelectorAll(".fields:enabled input")) {
    const text = input.value.trim();
    if (text !== "") values[input.name] = input.type === "number" ? Number(text) : text;
  }
  return values;
}
