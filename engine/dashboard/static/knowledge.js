// The knowledge base: a search box.

import { get } from "./api.js";
import { fill, h } from "./dom.js";

// The blocks of a card: headings, formulas (indented) and paragraphs, whose lines flow.
const blocks = (text) => text.split(/\n\s*\n/).filter((block) => block.trim()).map((block) => {
  if (block.startsWith("#")) return h("h4", {}, block.replace(/^#+\s*/, ""));
  return /^ {4}/.test(block) ? h("pre", { tabindex: 0 }, block.replace(/^ {4}/gm, "")) : h("p", {}, block.replace(/\s*\n\s*/g, " "));
});

export const view = async (place, args, query, isCurrent) => {
  const runs = (await get("runs")).filter((row) => row.kind === "run" && !row.problem);
  const words = h("input", { type: "search", placeholder: "what to look for, such as: gated linear attention", "aria-label": "Search the knowledge base", value: query.get("words") ?? "" });
  const base = h("select", { "aria-label": "Knowledge base" }, h("option", { value: "" }, "the reference cards"), runs.map((row) => h("option", { value: row.key }, `base of ${row.key}`)));
  base.value = query.get("run") ?? "";
  const body = h("div", { "aria-live": "polite" });
  const search = async () => {
    if (!words.value.trim()) return;
    fill(body, h("p", { class: "note" }, "Searching …"));
    try {
      const found = await get("knowledge", { words: words.value, run: base.value });
      if (!isCurrent()) return;
      fill(body, h("p", { class: "note" }, `In ${found.base}:`), h("ol", { class: "hits" }, found.hits.map((hit) => h("li", { class: "card" },
        h("h3", {}, hit.title), h("p", { class: "aside" }, [hit.source, hit.year, (hit.authors ?? []).slice(0, 3).join(", "), hit.unit, hit.arxiv].filter(Boolean).join(" · "),
          /^https?:/.test(hit.url ?? "") ? [" · ", h("a", { href: hit.url, rel: "noreferrer" }, hit.url)] : null),
        h("div", { class: "passage" }, blocks(hit.text))))), found.hits.length ? null : h("p", { class: "note" }, "Nothing was found."));
    } catch (error) {
      fill(body, h("div", { class: "notice bad", role: "alert" }, h("p", {}, error.message), error.hint ? h("p", {}, error.hint) : null));
    }
  };
  fill(place, h("h1", {}, "Knowledge"), h("p", { class: "lead" }, "What operators can look up: reference cards of known architectures, papers and notes. The page of a design lists what was found for it."),
    h("form", { class: "tools", role: "search", on: { submit: (event) => { event.preventDefault(); search(); } } }, words, base, h("button", { class: "button" }, "Search")), body);
  search();
  return "Knowledge";
};
