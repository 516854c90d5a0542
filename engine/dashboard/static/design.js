// One design: what it is, where it comes from, how it was made, what it scored.

import { problem } from "./app.js";
import { at, get } from "./api.js";
import { pinControl } from "./control.js";
import { difference, highlighted, unfolded } from "./code.js";
import { cell, fill, h, link, num, section, table } from "./dom.js";
import { draw } from "./figures.js";
import { clock, count, duration, number, percent, plural, signed, usd } from "./format.js";
import { listen } from "./live.js";

const state = (found) => {
  if (found.disqualified) return ["disqualified", found.disqualified];
  if (!found.accepted) return ["rejected", "its check found faults"];
  if (found.fitness === null) return ["not verified", ""];
  return [found.standing ?? "", `up to ${found.rung}`];
};

const scores = (found) => {
  const rows = found.verifications.flatMap((v) => {
    const seed = v.replicate === 0 ? "first seed" : `seed ${v.replicate}`;
    if (v.status !== "ok") return [h("tr", {}, cell(v.rung), cell(seed), h("td", { colspan: 5 }, `failed: ${v.reason}`))];
    return Object.entries(v.scores).map(([metric, score], i) => {
      const control = (name) => num(number(v.controls[name]?.[metric]?.value));
      return h("tr", {}, cell(i ? "" : v.rung), cell(i ? "" : [seed, h("small", {}, percent(v.fitness))]), cell(metric),
        num([h("b", {}, number(score.value)), score.stderr ? h("span", { class: "err" }, ` ±${number(score.stderr)}`) : null]),
        control("untrained"), control("bigram"), num(score.n ? score.n.toLocaleString("en") : ""));
    });
  });
  const right = (text) => h("th", { class: "num", scope: "col" }, text);
  return rows.length ? table("Scores with controls", ["rung", "seed and gain", "metric", right("score"), right("untrained"), right("bigram"), right("items")], rows)
    : h("p", { class: "note" }, "It was never trained.");
};

const costs = (rows) => rows.length ? table("Cost", ["rung", ...["parameters", "FLOPs per token", "against the reference", "tokens", "training"].map((t) => h("th", { class: "num" }, t))],
  rows.map((row) => h("tr", {}, cell(row.rung), num(count(row.parameters)), num(count(row.flops_per_token)),
    num(row.compute_percent === null ? "–" : `${signed(row.compute_percent, 0)} %`), num(count(row.tokens)), num(row.train_s === null ? "–" : duration(row.train_s))))) : null;

const findings = (rows) => rows.length ? table("Findings", ["code", "where", "what"], rows.map((row) =>
  h("tr", {}, cell([h("b", {}, row.code), h("small", {}, row.severity)]), cell(`${row.unit ?? ""}${row.line ? `, line ${row.line}` : ""}`), cell([row.message, row.detail.map((line) => h("small", {}, line)), h("small", {}, row.advice)]))))
  : h("p", { class: "note" }, "The check found nothing.");

const EMPTY = [null, undefined, "", "[]", "{}"];
const facts = (pairs) => h("dl", { class: "facts" }, pairs.filter(([, value]) => !EMPTY.includes(value))
  .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

const proposal = ({ proposal: idea, review, taken, trace }) => {
  if (!idea) return null;
  return [
    h("h3", {}, idea.title ?? "Proposal"), idea.motivation ? h("p", {}, idea.motivation) : null,
    facts([...(idea.changes ?? []).map((each) => [each.path, each.change]), ["expected effect", idea.expected_effect],
      ...Object.entries(taken ?? {}).map(([path, other]) => [path, `taken from ${other} of the second parent`])]),
    review && Object.keys(review).length ? [h("h3", {}, "Review"), facts(Object.entries(review).map(([k, v]) => [k, text(v)]))] : null,
    trace?.length ? h("details", {}, h("summary", {}, `${plural(trace.length, "step")} to the code`), h("ol", { class: "log" }, trace.map((step) =>
      h("li", {}, h("b", {}, step.role), h("span", {}, [...new Set([step.path, step.outcome, ...(step.codes ?? [])])].filter(Boolean).join(" · ")))))) : null,
  ];
};
const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));

const conversation = (calls) => calls.length ? h("ol", { class: "messages" }, calls.map((call) => h("li", {}, h("details", {},
  h("summary", {}, h("b", {}, call.role), h("span", { class: "aside" }, `${call.model} · ${count(call.input_tokens)} in, ${count(call.output_tokens)} out · ${usd(call.usd)} · ${duration(call.latency_s)} · ${clock(call.at)}`)),
  call.messages.map((message) => [h("p", { class: "says" }, message.from), h("pre", { tabindex: 0 }, message.text)]),
  h("p", { class: "says" }, call.refused === null ? "reply" : "refused"), h("pre", { tabindex: 0 }, call.refused ?? call.reply)))))
  : h("p", { class: "note" }, "No language model took part.");

const ablation = (found) => {
  if (!found) return h("p", { class: "note" }, "Not measured yet: ", h("code", {}, "genesys-engine explain"), " trains the design without each of its parts.");
  const line = (name, share) => h("tr", { class: share.verdict === "helps" ? "better" : share.verdict === "harms" ? "worse" : "" }, cell([h("b", {}, name), h("small", {}, share.change)]),
    num(share.gain ? [h("b", { class: "gain" }, percent(share.gain.mean)), share.gain.low === null ? null : h("small", {}, `${number(share.gain.low)} to ${number(share.gain.high)}`)] : "–"), cell(share.problem || share.verdict));
  return [h("p", { class: "note" }, `What the design gains over itself without a part, at ${found.scale} with ${plural(found.seeds, "training seed")}; the whole against ${found.base}.`),
    table("Ablation", ["without", h("th", { class: "num" }, "gain"), "verdict"], [line("the whole design", found.whole), ...found.parts.map((part) => line(part.path, part))])];
};

const looked = (searches, run) => searches.length ? searches.map((search) => h("details", {},
  h("summary", {}, `“${search.query.length > 120 ? `${search.query.slice(0, 120)}…` : search.query}”: ${plural(search.found.length, "document")}`),
  h("ol", {}, search.found.map((each) => h("li", {}, each.title, h("span", { class: "aside" }, ` ${[each.source, each.year, each.id].filter(Boolean).join(" · ")}`))))))
  : h("p", { class: "note" }, "Nothing was looked up for it. ", link(`#/knowledge?run=${encodeURIComponent(run)}`, "Search the knowledge base"));

export const view = async (place, [run, design], query, isCurrent) => {
  const base = `runs/${at(run)}/designs/${design}`;
  const hrefOf = (each) => `#/run/${encodeURIComponent(run)}/design/${each}`;
  const found = await get(base);
  const name = (each) => link(hrefOf(each), found.names[each] ?? `#${each}`);
  const [word, detail] = state(found);
  const curves = h("div", {}), pin = h("span", { class: "pin" });
  const listed = (each) => each.map((one, i) => [i ? ", " : "", name(one)]);
  const steps = [...found.lineage].map((step) => h("li", {}, step.design === found.design ? h("b", {}, found.label) : name(step.design), h("span", {}, step.change || step.operator)));
  const parents = [...new Set(found.parents)];
  fill(place,
    h("p", { class: "kicker" }, link("#/", "Runs"), " / ", link(`#/run/${encodeURIComponent(run)}`, run), " / design"),
    h("div", { class: "title" }, h("h1", {}, found.label), h("span", { class: `chip standing-${word.replaceAll(" ", "-")}` }, word), h("span", { class: "aside" }, detail)),
    h("p", { class: "lead" }, found.change),
    h("dl", { class: "tiles" },
      h("div", {}, h("dt", {}, "mean gain"), h("dd", {}, percent(found.fitness), h("small", {}, `over ${found.reference}`))),
      h("div", {}, h("dt", {}, "place"), h("dd", {}, found.places.length ? `${found.places.at(-1).place} of ${found.places.at(-1).designs}` : "–", h("small", {}, found.places.length > 1 ? found.places.map((p) => `${p.place} of ${p.designs} at ${p.rung}`).join(" · ") : found.places.map((p) => `at ${p.rung}`)))),
      h("div", {}, h("dt", {}, "operator"), h("dd", { class: "words" }, found.operator)),
      h("div", {}, h("dt", {}, "parents"), h("dd", { class: "words" }, parents.length ? listed(parents) : "none", h("small", {}, found.children.length ? ["children: ", listed(found.children.slice(0, 12)), found.children.length > 12 ? ` and ${found.children.length - 12} more` : ""] : "no children")))),
    found.remarks.length ? h("div", { class: "notice warn" }, found.remarks.map((line) => h("p", {}, line))) : null,
    h("p", { class: "controls" }, link(`#/compare?d=${[`${run}:${design}`, ...parents.map((p) => `${run}:${p}`)].map(encodeURIComponent).join(",")}`, parents.length ? "Compare with its parents" : "Compare", { class: "button" }), pin),
    h("div", { class: "stacked" },
      section("scores", "Scores next to their controls", scores(found), costs(found.costs)),
      section("curves", "Loss curves", curves),
      h("div", { class: "two" },
        section("structure", "Tree", h("pre", { tabindex: 0 }, found.tree), found.changes.map((change) => [h("h3", {}, "Changed against ", name(change.parent)), change.rewritten.length && !change.lines.length ? null : difference(change.lines, `Tree against ${change.label}`),
          change.rewritten.length ? h("p", { class: "note" }, `Other code under the same name: ${change.rewritten.join(", ")}.`) : null])),
        section("lineage", "Lineage", h("ol", { class: "steps" }, steps))),
      section("source", "Code",
        parents.map((parent) => unfolded(`Difference to ${found.names[parent]}`, async () => difference((await get(`${base}/difference/${parent}`)).lines, `Code against ${found.names[parent]}`), { open: false })),
        unfolded("The whole module", async () => highlighted((await get(`${base}/code`)).pieces))),
      section("made", "How it was made",
        proposal(found.details), !found.details.proposal && Object.keys(found.details).length ? facts(Object.entries(found.details).map(([k, v]) => [k, text(v)])) : null,
        h("h3", {}, "Exchanges with language models"), Object.keys(found.llm).length ? unfolded(`${plural(Object.values(found.llm).reduce((n, used) => n + used.calls, 0), "call")}`, async () => conversation(await get(`${base}/conversation`))) : conversation([]),
        h("h3", {}, "Looked up"), looked(found.retrieved, run)),
      h("div", { class: "two" }, section("ablation", "What each part gives", ablation(found.explanation)), section("findings", "Findings of the check", findings(found.findings)))));

  const boxes = new Map();
  const refresh = async () => {
    const [figures, { pin: state }] = await Promise.all([get(`${base}/curves`), get(`${base}/pin`)]);
    if (!isCurrent()) return;
    pinControl(pin, state, `${base}/pin`);
    if (!figures.length) { fill(curves, h("p", { class: "note" }, "No curve yet.")); return; }
    if (boxes.size !== figures.length) { boxes.clear(); fill(curves, h("div", { class: "grid" }, figures.map((figure, i) => { boxes.set(i, h("div", { class: "figure" })); return h("div", {}, h("h3", {}, figure.scale), boxes.get(i)); }))); }
    await Promise.all(figures.map((figure, i) => draw(boxes.get(i), figure)));
  };
  const wrong = (error) => { if (isCurrent()) fill(curves, problem(error)); };
  setTimeout(() => refresh().catch(wrong));
  listen(run, (message) => (message.problem ? wrong(message.problem) : refresh().catch(wrong)), 4000);
  return `${found.label} of ${run}`;
};
