// All runs and studies, each in a card.

import { get } from "./api.js";
import { fill, h, link } from "./dom.js";
import { duration, percent, plural } from "./format.js";
import { listen } from "./live.js";

export const chip = (state) => h("span", { class: `chip state-${state.split(" ")[0]}` }, state);

export const progress = (done, of, label) =>
  h("div", { class: "meter", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": of, "aria-valuenow": done },
    h("i", { style: { "--w": `${of ? Math.min(100, (100 * done) / of) : 0}%` } }));

export const card = (row) => {
  if (row.kind === "study") {
    return h("li", { class: "card" },
      h("p", { class: "kicker" }, "study"),
      h("h3", {}, link(`#/study/${encodeURIComponent(row.key)}`, row.name)),
      h("p", { class: "aside path" }, row.folder));
  }
  if (row.problem) {
    return h("li", { class: "card" }, h("h3", {}, row.name), h("p", { class: "notice bad" }, row.problem), h("p", { class: "aside path" }, row.folder));
  }
  const left = row.state === "running" && row.remaining_s ? ` · about ${duration(row.remaining_s)} left` : "";
  return h("li", { class: "card" },
    h("div", { class: "card-head" },
      h("h3", {}, link(`#/run/${encodeURIComponent(row.key)}`, row.name)), chip(row.state)),
    progress(row.verifications, row.verifications_planned, `verifications of ${row.name}`),
    h("p", { class: "facts-line" }, `${row.verifications} of ${plural(row.verifications_planned, "verification")} · ${duration(row.elapsed_s)}${left}`),
    h("p", { class: "card-best" }, row.best
      ? [h("b", {}, percent(row.gain)), ` ${row.best} is best so far`]
      : "Nothing is verified yet"),
    h("p", { class: "aside path" }, row.folder));
};

export const view = async (place, args, query, isCurrent) => {
  const list = h("ul", { class: "cards-grid" });
  const empty = h("p", { class: "notice" }, "There is no run here yet. A new one appears by itself.");
  const refresh = async () => {
    const rows = await get("runs");
    if (!isCurrent()) return;
    const [studies, runs] = [rows.filter((row) => row.kind === "study"), rows.filter((row) => row.kind !== "study" && !row.study)];
    const order = (row) => (row.state === "running" ? 0 : 1);
    fill(list, [...runs.sort((a, b) => order(a) - order(b)), ...studies].map(card));
    empty.hidden = rows.length > 0;
  };
  fill(place, h("h1", {}, "Runs"), empty, list);
  await refresh();
  listen(null, () => refresh().catch(() => {}), 2000);
  return "Runs";
};
