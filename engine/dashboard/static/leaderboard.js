// The leaderboard: the server sorts, filters and pages; ten thousand rows never reach the browser.

import { at, get } from "./api.js";
import { cell, fill, h, link, num, table } from "./dom.js";
import { count, number, percent, plural, signed } from "./format.js";

const PAGE = matchMedia("(max-width: 640px)").matches ? 10 : 25;

const word = (standing) => standing.replaceAll(" ", "-").replace("no-difference", "within-noise");

export const leaderboard = (run, isCurrent, hrefOf) => {
  const asked = { sort: "rank", descending: "", words: "", rung: "", origin: "", offset: 0, limit: PAGE };
  const chosen = new Set();
  const body = h("div", { class: "board" });
  const foot = h("div", { class: "pager" });
  const compare = h("a", { class: "button", href: "#/compare", hidden: true }, "Compare");
  const change = (changes) => { Object.assign(asked, { offset: 0 }, changes); return refresh(); };
  let typing = 0;
  const words = h("input", { type: "search", placeholder: "Filter by name, operator or change", "aria-label": "Filter the leaderboard",
    on: { input: () => { clearTimeout(typing); typing = setTimeout(() => change({ words: words.value }), 200); } } });
  const rungs = h("select", { "aria-label": "Rung", on: { change: () => change({ rung: rungs.value }) } }, h("option", { value: "" }, "all rungs"));
  const origins = h("select", { "aria-label": "Origin", on: { change: () => change({ origin: origins.value }) } },
    h("option", { value: "" }, "seeds and children"), h("option", { value: "child" }, "children"), h("option", { value: "seed" }, "seeds"));

  const sorted = (key, text, props = {}) => {
    const active = asked.sort === key;
    const direction = asked.descending === "1" ? "descending" : "ascending";
    return h("th", { scope: "col", "aria-sort": active ? direction : "none", ...props },
      h("button", { type: "button", class: "sort", data: { sort: key },
        on: { click: () => change(active ? { descending: asked.descending === "1" ? "" : "1" } : { sort: key, descending: isUp(key) }) } },
      text, h("span", { class: "arrow", "aria-hidden": "true" }, active ? (direction === "descending" ? " ↓" : " ↑") : "")));
  };
  // A narrow page has no head to sort by.
  const order = h("select", { "aria-label": "Sort by", class: "narrow", on: { change: () => change({ sort: order.value, descending: isUp(order.value) }) } });
  const turn = h("button", { type: "button", class: "button plain narrow", on: { click: () => change({ descending: asked.descending === "1" ? "" : "1" }) } });
  const ordered = (found) => {
    const keys = [["rank", "rank"], ["design", "design"], ...found.axes.map((axis) => [axis.key, axis.title])];
    if (order.options.length !== keys.length) fill(order, keys.map(([key, title]) => h("option", { value: key }, `by ${title}`)));
    order.value = asked.sort;
    turn.textContent = asked.descending === "1" ? "descending" : "ascending";
  };
  let axes = [];
  const isUp = (key) => (axes.find((axis) => axis.key === key)?.up ? "1" : "");
  const pick = (row) => h("input", { type: "checkbox", "aria-label": `Compare ${row.label}`, checked: chosen.has(row.design),
    on: { change: (event) => { event.target.checked ? chosen.add(row.design) : chosen.delete(row.design); picked(); } } });
  const picked = () => {
    compare.hidden = chosen.size === 0;
    compare.textContent = `Compare ${plural(chosen.size, "design")}`;
    compare.href = `#/compare?d=${[...chosen].map((design) => `${encodeURIComponent(run)}:${design}`).join(",")}`;
  };
  const titleOf = (metric) => axes.find((axis) => axis.key === metric)?.title ?? metric;
  const score = (row, metric) => {
    const found = row.scores[metric];
    if (!found) return num("–");
    const bigram = row.controls.bigram?.[metric]?.value;
    return num([number(found.value), found.stderr ? h("span", { class: "err" }, ` ±${number(found.stderr)}`) : null,
      bigram === undefined ? null : h("small", {}, `bigram ${number(bigram)}`)], { data: { label: titleOf(metric) } });
  };
  const line = (row, metrics) =>
    h("tr", { class: word(row.standing) },
      cell(pick(row), { class: "pick", data: { label: "compare" } }),
      num(row.rank, { class: "num rank", data: { label: "rank" } }),
      cell([link(hrefOf(row.design), row.label, { class: "design-link" }), h("small", { class: "clip" }, row.change)], { class: "named", data: { label: "design" } }),
      num([h("b", { class: "gain" }, percent(row.fitness)),
        h("small", {}, `${row.standing}${row.sigma ? `, 2σ ${number(2 * row.sigma)}` : ""}`)], { data: { label: "mean gain" } }),
      cell(row.rung, { class: "short", data: { label: "up to" } }),
      metrics.map((metric) => score(row, metric)),
      num([count(row.parameters)], { data: { label: "parameters" } }),
      num([count(row.flops_per_token), row.compute_percent === null ? null : h("small", {}, `${signed(row.compute_percent, 0)} %`)], { data: { label: "FLOPs/token" } }),
      num(row.train_s === null ? "–" : `${row.train_s.toFixed(1)} s`, { data: { label: "training" } }),
      cell(row.operator.replace(/^seed:.*/, "seed"), { class: "operator", data: { label: "operator" } }));

  const refresh = async () => {
    const mine = JSON.stringify(asked);
    const found = await get(`runs/${at(run)}/leaderboard`, asked);
    if (!isCurrent() || mine !== JSON.stringify(asked)) return;
    axes = found.axes;
    ordered(found);
    if (rungs.options.length === 1) rungs.append(...found.rungs.map((rung) => h("option", { value: rung }, rung)));
    const focused = document.activeElement?.dataset?.sort;
    const heads = [h("th", { scope: "col" }, h("span", { class: "hidden" }, "compare")), sorted("rank", "rank", { class: "num" }), sorted("design", "design"),
      sorted("fitness", "mean gain", { class: "num" }), h("th", { scope: "col" }, "up to"),
      found.metrics.map((metric) => sorted(metric, titleOf(metric), { class: "num" })),
      sorted("parameters", "parameters", { class: "num" }), sorted("flops", "FLOPs/token", { class: "num" }),
      sorted("train_s", "training", { class: "num" }), h("th", { scope: "col" }, "operator")].flat();
    const nothing = found.total ? "No design matches this filter." : "Nothing is verified yet.";
    fill(body, found.rows.length ? table("Leaderboard", heads, found.rows.map((row) => line(row, found.metrics))) : h("p", { class: "note" }, nothing));
    if (focused) body.querySelector(`[data-sort="${CSS.escape(focused)}"]`)?.focus();
    const last = Math.min(found.offset + PAGE, found.matching);
    fill(foot,
      h("span", {}, found.matching ? `${found.offset + 1}–${last} of ${plural(found.matching, "design")}` : ""),
      h("button", { type: "button", disabled: found.offset === 0, on: { click: () => page(-PAGE) } }, "Previous"),
      h("button", { type: "button", disabled: last >= found.matching, on: { click: () => page(PAGE) } }, "Next"));
  };
  const page = (step) => { asked.offset = Math.max(0, asked.offset + step); return refresh(); };
  return { element: h("div", {}, h("div", { class: "tools" }, words, rungs, origins, order, turn, compare), body, foot), refresh };
};
