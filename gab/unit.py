"""Units (GAUs): one source file, read but never run, described as frozen data.

`parse_unit` checks a source against the unit contract (`gab/contract.py`) and returns a `Unit`:
what it is called, which interface it offers, which children it needs, which hyper-parameters it
has, and a digest by which equal units are known.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from dataclasses import dataclass
from functools import lru_cache

from genesys_engine.gab.contract import Value, read_contract
from genesys_engine.gab.errors import TreeError, UnitError
from genesys_engine.gab.filerules import Breach
from genesys_engine.gab.syntax import canonical, parse_unit_source

__all__ = ["HyperParameter", "Slot", "Unit", "Value", "parse_unit"]


@dataclass(frozen=True)
class Slot:
    """A place for a child: its name, the required interface, and its purpose."""

    name: str
    interface: str
    requirement: str


@dataclass(frozen=True)
class HyperParameter:
    """A constructor parameter with its default; `choices` are the values mutation draws from."""

    name: str
    default: Value
    choices: tuple[Value, ...]

    def checked(self, value: object) -> Value:
        """Return `value` as the default's type (an int may stand for a float).

        Raises:
            TypeError: the value has another type, or is not finite.
        """
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind or (isinstance(value, float) and value - value != 0.0):
            raise TypeError(f"{self.name} takes a {kind.__name__}, not {value!r}")
        return value


@dataclass(frozen=True)
class Unit:
    """A generalized autoregressive unit, (X, Z) -> (X, Z), as its source declares it.

    `inputs` and `outputs` name the values of Z that it reads and writes; `doc` is its
    docstring, the specification; `digest` is a SHA-256 that comments, formatting, docstrings,
    the class's name and the order of call keywords do not change.
    """

    name: str
    source: str
    interface: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    slots: tuple[Slot, ...]
    hyperparameters: tuple[HyperParameter, ...]
    doc: str
    digest: str

    def slot(self, name: str) -> Slot:
        """Return the slot of this name; `TreeError` if there is none."""
        for slot in self.slots:
            if slot.name == name:
                return slot
        known = ", ".join(slot.name for slot in self.slots) or "none"
        raise TreeError(f"{self.name} has no slot {name!r}", hint=f"its slots: {known}")

    def hyperparameter(self, name: str) -> HyperParameter:
        """Return the hyper-parameter of this name; `TreeError` if there is none."""
        for parameter in self.hyperparameters:
            if parameter.name == name:
                return parameter
        known = ", ".join(parameter.name for parameter in self.hyperparameters) or "none"
        message = f"{self.name} has no hyper-parameter {name!r}"
        raise TreeError(message, hint=f"its hyper-parameters: {known}")


def parse_unit(source: str, *, where: str = "<unit>") -> Unit:
    """Read a unit from its source, which is not run.

    Raises:
        UnitError: the source breaks the contract; `where` becomes "file:line", `code` is stable
            (like "contract.slot_unused") and `hint` says how to fix it.
    """
    try:
        return _parse(source)
    except Breach as breach:
        place = f"{where}:{breach.line}"
        raise UnitError(
            breach.message,
            where=place,
            hint=breach.hint,
            code=breach.code,
            missing=breach.missing,
        ) from None


@lru_cache(maxsize=4096)
def _parse(source: str) -> Unit:
    source = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    try:
        module = parse_unit_source(source)
        contract = read_contract(module)
        text = canonical(module, {contract.node.name: "<unit>"})
    except SyntaxError as error:
        hint = "the source must be valid Python"
        raise Breach("syntax", f"{error.msg}", error.lineno or 1, hint) from None
    except (ValueError, RecursionError, MemoryError) as error:
        hint = "the source must be plain text without deep nesting"
        raise Breach("syntax", f"cannot be read: {error}", 1, hint) from None
    node = contract.node
    return Unit(
        name=node.name,
        source=source.strip("\n") + "\n",
        interface=contract.interface,
        inputs=contract.inputs,
        outputs=contract.outputs,
        slots=tuple(Slot(*slot) for slot in contract.slots),
        hyperparameters=tuple(HyperParameter(*entry) for entry in contract.hyperparameters),
        doc=inspect.cleandoc(ast.get_docstring(node) or ""),
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )
