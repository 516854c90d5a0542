"""One design: tree, code and differences, lineage, how it was made, what it scored."""

from __future__ import annotations

from dataclasses import asdict
from difflib import unified_diff

from genesys_engine.engine.common.records import plain
from genesys_engine.engine.common.redact import redact
from genesys_engine.engine.dashboard.answers.designs import drawing
from genesys_engine.engine.dashboard.watch import Moment
from genesys_engine.engine.llm.ledger import Call
from genesys_engine.engine.report import charts
from genesys_engine.engine.report.highlight import python_tokens
from genesys_engine.engine.score.explanation import Share
from genesys_engine.engine.store.names import scale_names
from genesys_engine.engine.store.replicates import FRESH, is_fresh
from genesys_engine.engine.views.details import composed_source, design_details
from genesys_engine.engine.views.explanations import explanations
from genesys_engine.engine.views.llm import exchange
from genesys_engine.engine.views.retrieved import retrieved
from genesys_engine.engine.views.status import status
from genesys_engine.gab.checks.trace import in_lines
from genesys_engine.gab.tree import GABTree

CONTEXT = 3


def details(moment: Moment, design: int) -> dict[str, object]:
    """Return what `show` gives, with labels, the changes to its parents, and its ablation."""
    found = design_details(moment, design)
    label = moment.run.label
    return {
        **found.to_json(),
        "findings": [
            {**asdict(each), "detail": list(in_lines(each.trace)) if each.trace else []}
            for each in found.report.findings
        ],
        "label": found.label,
        "reference": found.reference,
        "seq": found.row.seq,
        "result": None if found.result is None else found.result.to_json(),
        "names": {
            each: label(each)
            for each in (*found.row.parents, *found.children, *(a.id for a in found.ancestors))
        },
        "changes": [
            {"parent": parent, "label": label(parent), **_change(moment, parent, design)}
            for parent in dict.fromkeys(found.row.parents)
        ],
        "explanation": _explanation(moment, design),
        "retrieved": [plain(search) for search in retrieved(moment, found.row.seq)],
    }


def _change(moment: Moment, parent: int, design: int) -> dict[str, object]:
    """Return the lines in which the tree of a design differs from that of a parent, and the units
    that have other code there under the same name."""
    before, after = (GABTree.from_json(moment.tree(each)) for each in (parent, design))
    lines = (tree.describe().splitlines() for tree in (before, after))
    return {"lines": changed_lines(*lines, context=1), "rewritten": rewritten(before, after)}


def rewritten(before: GABTree, after: GABTree) -> list[str]:
    """Return the units of `after` that have other code than the one of their name and place in
    `before`: the lines of both trees are the same there."""
    known = {(each.path, each.node.name): each.node.unit.digest for each in before.places()}
    return [
        f"{each.node.name} at {each.path}"
        for each in after.places()
        if (digest := known.get((each.path, each.node.name))) and digest != each.node.unit.digest
    ]


def _explanation(moment: Moment, design: int) -> dict[str, object] | None:
    """Return what each part of a design gives, None where `explain` was not asked."""
    found = next((each for each in explanations(moment) if each.design == design), None)
    if found is None:
        return None
    return {
        "base": found.base,
        "scale": found.scale,
        "seeds": found.seeds,
        "whole": _share(found.whole),
        "parts": [_share(part) for part in found.parts],
    }


def _share(share: Share) -> dict[str, object]:
    return {
        "path": share.path,
        "change": share.change,
        "gain": None if share.gain is None else plain(share.gain),
        "verdict": share.verdict,
        "problem": share.problem,
    }


def code(moment: Moment, design: int) -> dict[str, object]:
    """Return the composed module as coloured pieces; nothing of it runs."""
    return {"pieces": python_tokens(composed_source(moment, design))}


def difference(moment: Moment, design: int, other: int) -> dict[str, object]:
    """Return the lines in which the code of a design differs from that of another."""
    before, after = (composed_source(moment, each).splitlines() for each in (other, design))
    return {"lines": changed_lines(before, after)}


def changed_lines(before: list[str], after: list[str], *, context: int = CONTEXT) -> list[str]:
    """Return a unified difference without its head."""
    return list(unified_diff(before, after, lineterm="", n=context))[2:]


def curves(moment: Moment, design: int) -> list[dict[str, object]]:
    """Return the loss curves, a figure for each rung; of running trials as far as they are."""
    scales = scale_names(moment)
    by_rung: dict[str, dict[str, charts.Curve]] = {}
    for row in moment.verifications(design):
        drawn = by_rung.setdefault(scales[row.rung], {})
        drawn[_seed(row.replicate)] = moment.curves.read(row.id)
    for task in status(moment).training:
        if task.design == design and task.verification is not None:
            curve = moment.curves.read(task.verification)
            by_rung.setdefault(task.rung, {})["running now"] = curve
    return [
        {
            "scale": scale,
            **drawing(charts.curves_figure(scale, {n: c for n, c in found.items() if c}, [])),
        }
        for scale, found in by_rung.items()
        if any(found.values())
    ]


def _seed(replicate: int) -> str:
    fresh = is_fresh(replicate)
    return f"fresh seed {replicate - FRESH + 1}" if fresh else f"seed {replicate}"


def conversation(moment: Moment, design: int) -> list[dict[str, object]]:
    """Return every exchange with language models that made a design, with keys hidden."""
    return [_exchanged(call) for call in exchange(moment, moment.design(design).seq)]


def _exchanged(call: Call) -> dict[str, object]:
    return {
        "role": call.role,
        "model": call.model,
        "messages": [{"from": who, "text": redact(text)} for who, text in call.messages],
        "reply": None if call.reply is None else redact(call.reply),
        "refused": None if call.refused is None else redact(call.refused),
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "usd": call.usd,
        "latency_s": call.latency_s,
        "attempt": call.attempt,
        "at": call.at,
    }
