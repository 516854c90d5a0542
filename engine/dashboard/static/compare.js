// Designs of any runs side by side.

import { get } from "./api.js";
import { difference } from "./code.js";
import { cell, fill, h, link, num, section, table } from "./dom.js";
import { draw } from "./figures.js";
import { count, number, percent } from "./format.js";

const href = (row) => `#/run/${encodeURIComponent(row.run)}/design/${row.design}`;
const name = (row) => `${row.run}:${row.design}`;

const rows = (designs) => {
  const line = (title, make) => h("tr", {}, h("th", { scope: "row" }, title), designs.map((row) => num(make(row))));
  const of = (row, make) => (row.result === null ? "–" : make(row.result));
  const metrics = [...new Set(designs.flatMap((row) => Object.keys(row.result?.scores ?? {}).filter((metric) => !metric.includes("/"))))];
  return [
    line("mean gain", (row) => of(row, (r) => [h("b", {}, percent(r.fitness)), h("small", {}, row.label === row.reference ? r.standing : `${r.standing}, over ${row.reference}`)])),
    line("up to", (row) => of(row, (r) => r.rung)),
    line("with fresh seeds", (row) => of(row, (r) => r.fresh ? [percent(r.fresh.mean), r.fresh.low === null ? null : h("small", {}, `${percent(r.fresh.low)} to ${percent(r.fresh.high)}`)] : "–")),
    ...metrics.map((metric) => line(metric, (row) => of(row, (r) => r.scores[metric] ? [number(r.scores[metric].value), r.scores[metric].stderr ? h("small", {}, `${number(r.scores[metric].value - 1.96 * r.scores[metric].stderr)} to ${number(r.scores[metric].value + 1.96 * r.scores[metric].stderr)}`) : null] : "–"))),
    line("parameters", (row) => of(row, (r) => count(r.parameters))),
    line("FLOPs per token", (row) => of(row, (r) => count(r.flops_per_token))),
    line("training", (row) => of(row, (r) => r.train_s === null ? "–" : `${r.train_s.toFixed(1)} s`)),
    line("operator", (row) => row.operator),
  ];
};

const settings = (designs) => {
  const keys = [...new Set(designs.flatMap((row) => Object.keys(row.values)))].sort();
  const differs = keys.filter((key) => new Set(designs.map((row) => row.values[key])).size > 1);
  if (!differs.length) return h("p", { class: "note" }, "Their trees are the same.");
  return table("Units and hyper-parameters that differ", ["place", ...designs.map((row) => row.label)],
    differs.map((key) => h("tr", {}, h("th", { scope: "row", class: "path" }, key), designs.map((row) => cell(row.values[key] ?? "–")))));
};

const codes = (designs) => {
  const options = () => designs.map((row, i) => h("option", { value: i }, `${row.label} of ${row.run}`));
  const [from, to] = [h("select", { "aria-label": "From" }, options()), h("select", { "aria-label": "To" }, options())];
  const body = h("div", {});
  const show = async () => {
    const named = [designs[from.value], designs[to.value]].map(name).join(",");
    const found = await get("compare/code", { d: named });
    fill(body, difference(found.lines));
  };
  const wrong = (error) => fill(body, h("p", { class: "notice bad" }, error.message));
  from.value = String(designs.length > 1 ? 1 : 0);
  to.value = "0";
  for (const list of [from, to]) list.addEventListener("change", () => show().catch(wrong));
  show().catch(wrong);
  return [h("div", { class: "tools" }, h("label", {}, "from ", from), h("label", {}, "to ", to)), body];
};

const adding = async (named) => {
  const runs = (await get("runs")).filter((row) => row.kind === "run" && !row.problem);
  const run = h("select", { "aria-label": "Run" }, runs.map((row) => h("option", { value: row.key }, row.name === row.key ? row.key : `${row.key} (${row.name})`)));
  const design = h("input", { type: "search", inputmode: "numeric", placeholder: "number of a design", "aria-label": "Number of a design" });
  const add = (event) => {
    event.preventDefault();
    const number = design.value.trim().replace("#", "");
    if (/^\d+$/.test(number)) location.hash = `/compare?d=${[...named, `${run.value}:${number}`].map(encodeURIComponent).join(",")}`;
  };
  return h("form", { class: "tools", on: { submit: add } }, run, design, h("button", { class: "button" }, "Add"));
};

export const view = async (place, args, query, isCurrent) => {
  const named = (query.get("d") ?? "").split(",").filter(Boolean);
  const form = await adding(named);
  if (!named.length) {
    fill(place, h("h1", {}, "Compare"), h("p", { class: "lead" }, "Add designs here, or tick some on the leaderboard of a run."), form);
    return "Compare";
  }
  const found = await get("compare", { d: named.join(",") });
  const without = (row) => named.filter((each) => each !== name(row)).map(encodeURIComponent).join(",");
  const boxes = found.figures.map(() => h("div", { class: "figure" }));
  fill(place, h("h1", {}, "Compare"), form,
    h("div", { class: "stacked" },
      section("scores", "Scores", table("Designs side by side", [h("th", {}, ""), ...found.designs.map((row) => h("th", { class: "num", scope: "col", data: { label: row.label } }, link(href(row), row.label), h("small", {}, row.run_name),
        h("a", { class: "remove", href: `#/compare?d=${without(row)}`, "aria-label": `Remove ${row.label}` }, "remove")))], rows(found.designs)),
        h("p", { class: "note" }, "Ranges of scores are 95 % over the evaluated items; those with fresh seeds come from the finals.")),
      section("curves", "Loss curves", boxes.length ? h("div", { class: "grid" }, boxes.map((box) => h("div", {}, box))) : h("p", { class: "note" }, "None of them was trained.")),
      section("settings", "Units and hyper-parameters", settings(found.designs)),
      section("code", "Code", codes(found.designs)),
      section("trees", "Trees", h("div", { class: "grid" }, found.designs.map((row) => h("div", {}, h("h3", {}, link(href(row), row.label)), h("p", { class: "note" }, row.change), h("pre", { tabindex: 0 }, row.tree)))))));
  setTimeout(() => found.figures.forEach((figure, i) => { if (isCurrent()) draw(boxes[i], figure); }));
  return "Compare";
};
