// A study: its findings and tables, and the runs that belong to it.

import { at, get } from "./api.js";
import { cell, fill, h, link, section, table } from "./dom.js";
import { draw } from "./figures.js";
import { listen } from "./live.js";
import { card } from "./runs.js";

export const view = async (place, [key], query, isCurrent) => {
  const body = h("div", {});
  let name = key;
  const refresh = async () => {
    const found = await get(`studies/${at(key)}`);
    if (!isCurrent()) return;
    name = found.name;
    const drawings = [];
    const figures = (each) => h("div", {}, each.figures.map((figure) => { const box = h("div", { class: "figure" }); drawings.push([box, figure]); return box; }));
    fill(body,
      h("p", { class: "kicker" }, link("#/", "Runs"), " / study"),
      h("div", { class: "title" }, h("h1", {}, found.name), h("span", { class: "chip" }, found.complete ? "complete" : "partial")),
      found.simulation ? h("p", { class: "notice warn" }, "Simulation: no language model was asked.") : null,
      found.sentences.length ? h("ul", { class: "judged" }, found.sentences.map((line) => h("li", {}, line))) : null,
      h("div", { class: "stacked" }, found.tables.map((each, i) => section(`table-${i}`, each.title, figures(each),
        each.rows.length ? table(each.title, each.columns, each.rows.map((row) => h("tr", {}, row.map((text) => cell(text))))) : null))),
      found.runs.length ? [h("h2", {}, "Its runs"), h("ul", { class: "cards-grid" }, found.runs.map(card))] : null);
    setTimeout(() => drawings.forEach(([box, figure]) => { if (isCurrent()) draw(box, figure); }));
  };
  fill(place, body);
  await refresh();
  listen(null, () => refresh().catch(() => {}), 10000);
  return name;
};
