"""A design with its trained weights as a module of PyTorch, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genesys_engine.engine.api.designs import Design
from genesys_engine.engine.api.failures import engine_errors
from genesys_engine.engine.api.runs import Run
from genesys_engine.engine.export.checkpoints import find_weights
from genesys_engine.engine.store.names import find_design
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import GenesysError, InputError
from genesys_engine.gab.tree import GABTree

if TYPE_CHECKING:
    import os

    from genesys_engine.gab.model import LanguageModel


class UntrustedCode(GenesysError):
    """A design holds code that is not of the library; `units` names it."""

    def __init__(self, units: tuple[str, ...], where: str) -> None:
        super().__init__(
            f"{', '.join(units)}: not of the library, written by an operator, a language model or"
            " a user, and would run in this process with all its rights",
            where=where,
            hint="read `run.design(...).source`; trust_code=True loads it all the same, and"
            " `ge.check` runs it isolated",
        )
        self.units = units


def load_model(
    run: Run | str | os.PathLike[str],
    design: Design | int | str,
    *,
    rung: str | None = None,
    seed: int | None = None,
    device: str = "cpu",
    trust_code: bool = False,
) -> LanguageModel:
    """Return the trained language model of a design, in eval mode: tokens (B, T) to logits.

    The block of a design is code.  A design whose units all equal those of the library, word for
    word, loads without further ado; any other was written by an operator, a language model or a
    user, and runs in this process, outside the sandbox, only where `trust_code` says so.

    Args:
        run: a run, or its folder.
        design: a design, its number, or the name of a seed.
        rung: scale of the training; by default the largest with weights.
        seed: training seed (`replicate`) at that scale; by default the first.
        device: where it is to be: "cpu", "cuda", or "auto".
        trust_code: whether code that is not of the library may run in this process.

    Raises:
        UntrustedCode: it would, and may not.
        InputError: there is no such design, or no weights of it.
    """
    opened = run if isinstance(run, Run) else Run(run)
    named = design.id if isinstance(design, Design) else design
    with engine_errors(), Store.open(opened.path) as store:
        number = find_design(store, str(named))
        weights = find_weights(store, number, rung, seed)
        tree = GABTree.from_json(store.tree(number))
        foreign = foreign_units(tree)
        if foreign and not trust_code:
            raise UntrustedCode(foreign, f"{opened.path}, design {number}")
        fit = store.report(number).measurements.fits.get(weights.scale)
    if fit is None:
        raise InputError(f"the check of design {number} does not know {weights.scale}")
    from genesys_engine.gab.compose import load_block
    from genesys_engine.gab.model import LanguageModel
    from genesys_engine.plugins.checkpoint import load_checkpoint
    from genesys_engine.plugins.models import resolve_device

    model = LanguageModel(load_block(compose(tree)), fit.model)
    load_checkpoint(model, weights.path)
    return model.to(resolve_device(device)).eval()


def foreign_units(tree: GABTree) -> tuple[str, ...]:
    """Return the names of the units of a tree whose source is not, word for word, a library's."""
    known = {unit.source for unit in library.units()}
    return tuple(unit.name for unit in tree.units() if unit.source not in known)
