// Code, differences and trees: pieces of text with a class, never HTML.

import { h } from "./dom.js";

export const highlighted = (pieces) =>
  h("pre", { class: "code", tabindex: 0 }, h("code", {}, pieces.map(([kind, text]) => (kind ? h("span", { class: kind }, text) : text))));

const KINDS = { "+": "plus", "-": "minus", "@": "at" };

export const difference = (lines, label = "Differences") => lines.length
  ? h("pre", { class: "diff", tabindex: 0, "aria-label": label }, lines.map((line) => h("span", { class: KINDS[line[0]] ?? "same" }, line || " ")))
  : h("p", { class: "note" }, "No line differs.");

// A part that is fetched when it is opened first.
export const unfolded = (title, load, props = {}) => {
  const body = h("div", {}, h("p", { class: "note" }, "Loading …"));
  const details = h("details", props, h("summary", {}, title), body);
  let asked = false;
  details.addEventListener("toggle", async () => {
    if (!details.open || asked) return;
    asked = true;
    try { body.replaceChildren(await load()); }
    catch (error) { asked = false; body.replaceChildren(h("p", { class: "notice bad" }, error.message)); }
  });
  return details;
};
