// One run: progress, workers, evolution tree, figures, leaderboard, failures, language models.

import { problem } from "./app.js";
import { at, get } from "./api.js";
import { stopControl } from "./control.js";
import { cell, fill, h, link, num, section, table } from "./dom.js";
import { draw } from "./figures.js";
import { clock, count, duration, number, percent, plural, usd } from "./format.js";
import { leaderboard } from "./leaderboard.js";
import { listen } from "./live.js";
import { chip, progress } from "./runs.js";
import { evolutionTree } from "./tree.js";

const SECTIONS = [["now", "Now"], ["tree", "Evolution tree"], ["fitness", "Fitness"], ["trade-off", "Trade-offs"],
  ["leaderboard", "Leaderboard"], ["failures", "Failures"], ["llm", "Language models"], ["work", "Work"], ["log", "Events"]];
const HEAVY_MS = 4000;

const tile = (name, value, detail, extra = null) =>
  h("div", {}, h("dt", {}, name), h("dd", {}, value, detail ? h("small", {}, detail) : null, extra));

const head = (status) => {
  const done = status.rungs.reduce((sum, rung) => sum + rung.finished + rung.failed, 0);
  const planned = status.rungs.reduce((sum, rung) => sum + rung.planned, 0);
  const designs = status.designs;
  const left = status.remaining_s === null ? "not known yet" : duration(status.remaining_s);
  const llm = status.llm.total;
  const device = status.budgets.find((budget) => budget.budget === "device hours");
  return h("dl", { class: "tiles" },
    tile("verifications", `${done} / ${planned}`, status.rungs.map((rung) => `${rung.scale} ${rung.finished + rung.failed}/${rung.planned}`).join(" · "),
      progress(done, planned, "verifications")),
    status.state === "running" ? tile("time left, about", left, `${duration(status.elapsed_s)} of work so far`) : tile("time", duration(status.elapsed_s), status.state),
    tile("designs", `${designs.children} / ${designs.planned}`,
      [plural(designs.seeds, "seed"), designs.rejected && `${designs.rejected} rejected`, designs.duplicates && plural(designs.duplicates, "duplicate"),
        designs.abandoned && `${designs.abandoned} abandoned`, designs.disqualified && `${designs.disqualified} disqualified`].filter(Boolean).join(", "),
      progress(designs.children, designs.planned, "designs")),
    tile("best so far", status.best ? percent(status.best.fitness) : "–", status.best ? `${status.best.name ?? `#${status.best.design}`} up to ${status.best.rung}` : "nothing verified yet"),
    tile("spent", llm.calls ? usd(llm.usd) : device ? `${number(device.used)} device h` : duration(status.elapsed_s),
      llm.calls ? `${plural(llm.calls, "call")}, ${count(llm.tokens)} tokens` : "no language model asked"));
};

const budgets = (status) => {
  const rows = status.budgets.filter((budget) => budget.cap !== null && !budget.budget.startsWith("verifications at"));
  return rows.length ? h("ul", { class: "budgets" }, rows.map((budget) =>
    h("li", {}, h("span", {}, budget.budget), progress(budget.used ?? 0, budget.cap, budget.budget),
      h("em", {}, `${budget.used === null ? "unknown" : count(budget.used)} of ${count(budget.cap)}`)))) : null;
};

const worker = (what, design, href, detail, share) =>
  h("li", {}, h("span", { class: "what" }, what), href ? link(href, design) : h("b", {}, design),
    share === null ? h("span", { class: "meter idle" }) : progress(share, 1, `${what} ${design}`), h("em", {}, detail));

const now = (status, hrefOf) => {
  const busy = status.training.filter((task) => !task.waiting);
  const queued = status.training.length - busy.length;
  const rows = [
    ...busy.map((task) => worker(`training at ${task.rung}`, task.name, hrefOf(task.design),
      [task.tokens === null ? "starting" : `${count(task.tokens)} of ${count(task.of)} tokens`, task.loss === null ? null : `loss ${number(task.loss)}`, duration(task.seconds)].filter(Boolean).join(" · "),
      task.tokens === null ? 0 : task.tokens / task.of)),
    ...status.auditing.map((task) => worker("auditing", task.name, hrefOf(task.design), duration(task.seconds), null)),
    ...status.making.map((task) => worker("designing", "a child", null,
      [task.llm.calls ? `${plural(task.llm.calls, "call")}, ${count(task.llm.tokens)} tokens` : null, duration(task.seconds)].filter(Boolean).join(" · "), null)),
  ];
  const idle = { running: "No task is running at this moment.", finished: "The run is finished.", waiting: "The run is starting: its controls are measured before the first design." }[status.state]
    ?? ["No process works on this run. Resume it with ", h("code", {}, `genesys-engine resume ${status.folder}`)];
  return [
    rows.length && status.state === "running" ? h("ul", { class: "workers" }, rows) : h("p", { class: "note" }, idle),
    queued ? h("p", { class: "note" }, `${plural(queued, "verification")} waiting for a worker.`) : null,
    budgets(status),
  ];
};

const verdict = (status) => {
  const lines = status.verdict?.sentences ?? [];
  if (!lines.length) return null;
  return h("div", { class: "verdict" }, h("p", { class: "kicker" }, status.state === "finished" ? "verdict" : "verdict so far"),
    h("p", { class: "lead" }, lines[0]), lines.length > 1 ? h("ul", { class: "judged" }, lines.slice(1).map((line) => h("li", {}, line))) : null);
};

const failureList = (rows, hrefOf) => rows.length
  ? h("ul", { class: "bars" }, rows.map((row) => h("li", {},
    h("div", { class: "bar", style: { "--w": `${(100 * row.count) / rows[0].count}%` } }, h("b", {}, row.cause), h("span", {}, row.stage), h("em", {}, row.count)),
    row.reason ? h("p", {}, row.reason) : null,
    row.designs.length ? h("p", {}, "latest: ", row.designs.slice(-6).map((design, i) => [i ? ", " : "", link(hrefOf(design), `#${design}`)])) : null)))
  : h("p", { class: "note" }, "Nothing has failed.");

const models = (found) => {
  const roles = Object.entries(found.roles);
  if (!roles.length) return h("p", { class: "note" }, "No language model was asked.");
  const line = (role, used, model) => h("tr", {}, cell(role), cell(model ?? "", { class: "path" }), num(used.calls.toLocaleString("en")), num(count(used.input_tokens)), num(count(used.output_tokens)), num(usd(used.usd)));
  return [table("Language models by role", ["role", "model", h("th", { class: "num" }, "calls"), h("th", { class: "num" }, "tokens in"), h("th", { class: "num" }, "tokens out"), h("th", { class: "num" }, "cost")],
    [...roles.map(([role, used]) => line(role, used, found.models[role])), line("all", found.total)]),
  Object.keys(found.abandoned).length ? h("p", { class: "note" }, `Given up: ${Object.entries(found.abandoned).map(([code, n]) => `${code} ×${n}`).join(", ")}`) : null];
};

const STAGES = ["s0", "s1", "s2", "s3", "s4"];
const workDone = ({ timing, operators }) => [
  timing.work_s ? [
    h("div", { class: "stack", role: "img", "aria-label": timing.stages.map((stage) => `${stage.name} ${Math.round(100 * stage.share)} %`).join(", ") },
      timing.stages.map((stage, i) => h("i", { class: STAGES[i], style: { flex: `${stage.share} 0 0` } }))),
    h("ul", { class: "keys" }, timing.stages.map((stage, i) => h("li", {}, h("i", { class: STAGES[i] }), `${stage.name} `, h("small", {}, `${duration(stage.seconds)}, ${Math.round(100 * stage.share)} %`))))] : null,
  operators.length ? table("Operators", ["operator", ...["made", "rejected", "compared", "gain over parent"].map((name) => h("th", { class: "num" }, name)), "verdict"],
    operators.map((row) => h("tr", {}, cell(row.operator), num(row.proposed), num(row.rejected), num(row.compared),
      num(row.gain === null ? "–" : `${percent(row.gain)}${row.low === null ? "" : ` (${number(row.low)} to ${number(row.high)})`}`), cell(row.verdict))))
    : h("p", { class: "note" }, "No child was made yet."),
];

const log = (lines) => h("ol", { class: "log", reversed: true }, [...lines].reverse().map((line) =>
  h("li", {}, h("time", { datetime: new Date(line.at * 1000).toISOString() }, clock(line.at)), h("span", {}, line.text))));

const tradeOffs = (run, isCurrent, open) => {
  const box = h("div", { class: "figure" });
  const asked = { x: "flops", y: "fitness" };
  const select = (key, label) => h("select", { "aria-label": label, on: { change: (event) => { asked[key] = event.target.value; refresh(); } } });
  const [x, y] = [select("x", "Horizontal axis"), select("y", "Vertical axis")];
  const tools = h("div", { class: "tools", hidden: true }, h("label", {}, "across ", x), h("label", {}, "up ", y));
  const nothing = h("p", { class: "note" }, "Nothing is verified yet.");
  const refresh = async () => {
    const found = await get(`runs/${at(run)}/pareto`, asked);
    if (!isCurrent()) return;
    tools.hidden = !found.content;
    nothing.hidden = Boolean(found.content);
    if (!found.content) return;
    for (const [list, key] of [[x, "x"], [y, "y"]]) {
      if (list.options.length !== found.axes.length) fill(list, found.axes.map((axis) => h("option", { value: axis.key }, axis.title)));
      list.value = found[key];
    }
    await draw(box, found, open);
  };
  return { element: h("div", {}, tools, nothing, box), refresh };
};

export const view = async (place, [run], query, isCurrent) => {
  const hrefOf = (design) => `#/run/${encodeURIComponent(run)}/design/${design}`;
  const open = (design) => { location.hash = hrefOf(design).slice(1); };
  const parts = Object.fromEntries(SECTIONS.map(([id]) => [id, h("div", {})]));
  const [title, tiles, warnings, words] = [h("h1"), h("div"), h("div"), h("div")];
  const state = h("span"), stop = h("span", { class: "stop" });
  const tree = evolutionTree(hrefOf, (design) => get(`runs/${at(run)}/designs/${design}/brief`));
  const board = leaderboard(run, isCurrent, hrefOf);
  const off = tradeOffs(run, isCurrent, open);
  const fitnessBox = h("div", { class: "figure" }), fitnessNote = h("p", { class: "note" });
  fill(parts.tree, tree.element, h("div", { class: "legend" }, h("span", { class: "ramp" }), h("span", {}, "worse"), h("span", {}, "reference"), h("span", {}, "better")));
  fill(parts.fitness, fitnessBox, fitnessNote);
  fill(parts["trade-off"], off.element);
  fill(parts.leaderboard, board.element);
  const loading = (part) => fill(part, h("p", { class: "note" }, "Loading …"));
  for (const id of ["failures", "llm", "work"]) loading(parts[id]);
  fill(place,
    h("p", { class: "kicker" }, link("#/", "Runs"), " / run"),
    h("div", { class: "title" }, title, state, stop), warnings, tiles, words,
    h("nav", { class: "sections", "aria-label": "Sections" }, SECTIONS.map(([id, text]) =>
      h("button", { type: "button", on: { click: () => document.getElementById(id)?.scrollIntoView({ behavior: "smooth" }) } }, text))),
    h("div", { class: "columns" }, SECTIONS.map(([id, text]) => section(id, text, parts[id]))));

  let name = run;
  const light = async () => {
    const status = await get(`runs/${at(run)}/status`);
    if (!isCurrent()) return;
    name = status.name || run;
    title.textContent = name;
    fill(state, chip(status.state), status.reason ? h("span", { class: "aside" }, ` ${status.reason}`) : null);
    stopControl(stop, status.stop, `runs/${at(run)}/stop`);
    fill(tiles, head(status));
    fill(words, verdict(status));
    fill(warnings, status.caveats.length ? h("div", { class: "notice warn" }, status.caveats.map((text) => h("p", {}, text))) : null);
    fill(parts.now, now(status, hrefOf));
    fill(parts.log, log(status.log));
  };
  const heavy = async () => {
    const asked = (what, show) => get(`runs/${at(run)}/${what}`).then((found) => { if (isCurrent()) return show(found); });
    await Promise.all([
      asked("tree", tree.update),
      board.refresh(),
      asked("failures", (rows) => fill(parts.failures, failureList(rows, hrefOf))),
      asked("llm", (found) => fill(parts.llm, models(found))),
    ]);
    performance.mark("filled");
    await Promise.all([
      asked("fitness", async (found) => {
        if (!found.content) { fitnessNote.textContent = "Nothing is verified yet."; return; }
        await draw(fitnessBox, found, open);
        fitnessNote.textContent = found.sigma === null ? "The noise of training is not measured yet." : `The band is ±${found.sigmas}σ of a gain at ${found.scale}, ±${number(found.sigmas * found.sigma)} %: inside it nothing is called better.`;
      }),
      off.refresh(),
      asked("work", (found) => fill(parts.work, workDone(found))),
    ]);
  };
  let last = 0, pending = 0;
  const wrong = (error) => { if (isCurrent() && error.name !== "AbortError") fill(warnings, problem(error)); };
  const heavily = () => { last = Date.now(); pending = 0; heavy().catch(wrong); };
  await light();
  heavily();
  let seen = null;
  listen(run, (message) => {
    if (message.problem) { fill(warnings, problem(message.problem)); return; }
    light().catch(wrong);
    if (message.event === seen) return;
    seen = message.event;
    pending ||= setTimeout(() => { if (isCurrent()) heavily(); }, Math.max(0, last + HEAVY_MS - Date.now()));
  });
  return name;
};
