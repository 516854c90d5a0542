"""A plugin with an operator that asks every role, looks things up and has its child checked.

Small on purpose: what it makes of the replies is chance, what it uses is everything there is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from genesys_engine.plugins.api import (
    ROLES,
    Child,
    DesignAbandoned,
    Field,
    LLMRequest,
    OperatorContext,
    OperatorNotApplicable,
    Options,
    Parent,
    Register,
    hookimpl,
    library,
)


class AskingOptions(Options):
    """How it asks."""

    max_tokens: int = Field(default=24, description="of a reply")
    give_up: int = Field(default=4, description="one design in so many is given up")
    look_up: bool = Field(default=False, description="whether it looks things up")


class Asking:
    """Replaces a norm, as the replies' letters have it."""

    Options = AskingOptions
    arity = (1, 2)

    def __init__(self, options: AskingOptions) -> None:
        self.options = options

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        assert context.llm is not None
        tree = parents[0].tree
        said = ""
        for role in ROLES:
            words = f"{role}, look at this:\n{tree.describe()}\n{said[-200:]}"
            if self.options.look_up:
                words += "\n".join(d.title for d in context.search("normalisation", 2))
                words += "\n".join(context.tried("Replaced the norm", 2))
            request = LLMRequest(
                (("user", words),),
                max_tokens=self.options.max_tokens,
                temperature=0.7,
                seed=context.rng.getrandbits(31),
                purpose={"role": role},
            )
            said += context.llm.ask(role, request).text
        chance = int(hashlib.sha256(said.encode()).hexdigest(), 16)
        if chance % self.options.give_up == 0:
            raise DesignAbandoned("nothing came of it", code="asking.gave_up", details={"n": 5})
        places = [p for p in tree.places() if p.node.unit.interface == "norm" and not p.node.arity]
        if not places:
            raise OperatorNotApplicable
        place = places[chance // 7 % len(places)]
        norms = [u for u in library.units("norm") if not u.slots]
        unit = norms[chance // 77 % len(norms)]
        from genesys_engine.plugins.api import grow

        child = tree.replace(place.index, grow(unit))
        assert context.check is not None
        report = context.check(child)
        change = f"Replaced the norm at {place.path} by {unit.name}, as was said."
        return Child(child, change, {"said": len(said), "passed": report["passed"]})


@hookimpl
def genesys_register_operators(register: Register) -> None:
    register("asking", f"{__name__}:Asking", summary="asks every role")
