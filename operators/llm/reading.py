"""From a reply to a unit: find the code, fix mechanical faults, check the contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genesys_engine.gab.errors import UnitError
from genesys_engine.gab.unit import Unit, parse_unit
from genesys_engine.operators.llm import feedback
from genesys_engine.operators.llm.edits import (
    EditCut,
    EditFault,
    apply_edits,
    has_edits,
    read_edits,
)
from genesys_engine.operators.llm.repairs import repair
from genesys_engine.operators.llm.versions import best, versions_of
from genesys_engine.plugins.api import LLMReply
from genesys_engine.plugins.llm.replies import Answer, code_answers, spoken

_LONGEST = 50_000  # characters: the longest unit of the library has 5,300
_FULL = ("length", "max_tokens")


@dataclass(frozen=True)
class Reading:
    """The content of a reply: a unit, or the code and a description of its fault.

    `detail` is what else is known where the fault is (`feedback.detail_of`).
    """

    unit: Unit | None
    source: str = ""
    code: str = ""
    message: str = ""
    repairs: tuple[str, ...] = ()
    detail: str = ""


def read_unit(reply: LLMReply, original: Unit, shown: Iterable[str] = ()) -> Reading:
    """Read the single unit of a reply, which replaces `original`.

    Of several versions `operators.llm.versions` selects one; `shown` are further sources in the
    prompt.
    """
    blocks = code_answers(reply.text)
    fault = fault_without_code(reply, blocks)
    if fault is not None:
        return fault
    versions = versions_of(blocks, original.name)
    reading = best(versions, lambda source: read_source(source, original), original, shown)
    return note_if_cut(reading, reply)


def read_edited(
    reply: LLMReply, original: Unit, bases: Sequence[str], shown: Iterable[str] = ()
) -> Reading:
    """Read the edits of a reply, made to the first of `bases` that has all their lines.

    A reply without edits is read as a whole unit.
    """
    text = spoken(reply.text)
    if len(text) > _LONGEST or not has_edits(text):
        return read_unit(reply, original, shown)
    try:
        edits = read_edits(text)
    except EditFault as error:
        code = "reply.cut" if isinstance(error, EditCut) else "reply.edit"
        return Reading(None, "", code, str(error))
    faults = []
    for base in bases:
        try:
            return read_source(apply_edits(edits, base), original)
        except EditFault as error:
            faults.append(str(error))
    return Reading(None, "", "reply.edit", faults[0])


def read_source(source: str, original: Unit) -> Reading:
    """Repair and read the source of a unit."""
    repaired = repair(source, original)
    try:
        unit = parse_unit(repaired.source, where="line")
    except UnitError as error:
        message = feedback.of_error(error, repaired.source)
        detail = feedback.detail_of(error)
        return Reading(None, repaired.source, error.code, message, repaired.repairs, detail)
    return Reading(unit, repaired.source, repairs=repaired.repairs)


def fault_without_code(reply: LLMReply, blocks: Sequence[Answer]) -> Reading | None:
    """Return the fault of a reply without code."""
    text = spoken(reply.text)
    if len(text) > _LONGEST:
        return Reading(
            None, "", "reply.too_long", "The reply was far too long. Write the code alone."
        )
    if not reply.text.strip():
        return Reading(None, "", "reply.empty", "The reply was empty. Write the file.")
    if not text.strip():
        message = "The reply ended within its reasoning. Think less, and write the file."
        return Reading(None, "", "reply.cut", message)
    if not blocks:
        message = "The reply held no Python code. Write the file in one ```python block."
        return Reading(None, "", "reply.no_code", message)
    return None


def note_if_cut(reading: Reading, reply: LLMReply) -> Reading:
    """Note that a reply was cut off, if that is why it cannot be read."""
    fences = spoken(reply.text).count("```")
    cut = reply.details.get("finish_reason") in _FULL or fences % 2 == 1
    if reading.code == "contract.syntax" and cut:
        message = "The reply ended before the file did. Write less: the code alone."
        return Reading(None, reading.source, "reply.cut", message)
    return reading
