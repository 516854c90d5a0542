"""Options of the built-in trainers; imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from genesys_engine.plugins.api import Options

Choice = Literal["auto", "always", "never"]

PUBLISHED: dict[str, Any] = {
    "optimizer": "adamw",
    "weight_decay": 0.1,
    "betas": (0.9, 0.95),
    "warmup_fraction": 0.02,
    "final_lr_fraction": 0.1,
}
"""The recipe of the published system (Genesys, arXiv 2506.20249), at each scale's peak rate."""
OF_MUON = ("matrix_lr", "table_lr", "vector_lr", "momentum")
"""Options that mean nothing to AdamW alone."""


def _tuple(value: object) -> object:
    """Return a list as a tuple: behind the validator of the whole model strictness refuses it."""
    return tuple(value) if isinstance(value, list) else value


class TrainerOptions(Options):
    """Options shared by all built-in trainers."""

    recipe: Literal["measured", "published"] = Field(
        "measured",
        description="where the options below begin: what learns most per second of computing here"
        " (docs/training.md), or what the published system used (AdamW alone); options given"
        " as well go before it",
    )
    optimizer: Literal["muon", "adamw"] = Field(
        "muon",
        description="muon: Muon for matrices and AdamW for the rest; adamw: AdamW for all, at the"
        " peak rate of the rung",
    )
    matrix_lr: float = Field(0.03, gt=0, description="peak rate of Muon, for matrices")
    table_lr: float = Field(
        0.06, gt=0, description="peak rate of AdamW beside Muon, for the embedding"
    )
    vector_lr: float = Field(
        0.02, gt=0, description="peak rate of AdamW beside Muon, for gains, biases and the like"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Muon's momentum")
    weight_decay: float = Field(0.1, ge=0, description="on matrices and the embedding alone")
    betas: Annotated[tuple[float, float], BeforeValidator(_tuple)] = Field(
        (0.9, 0.95), description="AdamW's decay rates"
    )
    warmup_fraction: float = Field(
        0.02, ge=0, lt=1, description="share of the tokens over which the learning rate rises"
    )
    final_lr_fraction: float = Field(
        0.1, ge=0, le=1, description="learning rate at the end, as a share of the peak"
    )
    peak_lr: float | None = Field(
        None,
        gt=0,
        description='peak rate at every rung with optimizer = "adamw"; left out: the rung\'s',
    )
    grad_clip: float = Field(1.0, gt=0, description="largest global norm of the gradient")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: a CUDA device if there is one"
    )
    explode_factor: float = Field(
        2.0, gt=1, description="a loss above this multiple of the first one ends the trial"
    )

    @model_validator(mode="before")
    @classmethod
    def _begin_with_the_recipe(cls, given: Any) -> Any:
        """Fill in defaults from the recipe."""
        if isinstance(given, dict) and given.get("recipe") == "published":
            return {**PUBLISHED, **given}
        return given

    @model_validator(mode="after")
    def _options_fit_the_optimizer(self) -> TrainerOptions:
        """Refuse a rate that no optimiser would use: it would be a setting without an effect."""
        with_muon = self.optimizer == "muon"
        for name in ("peak_lr",) if with_muon else OF_MUON:
            if getattr(self, name) != type(self).model_fields[name].default:
                cure = (
                    'set matrix_lr, table_lr and vector_lr, or optimizer = "adamw"'
                    if with_muon
                    else 'leave it out, or set optimizer = "muon"'
                )
                raise ValueError(f'no effect with optimizer = "{self.optimizer}": {name}; {cure}')
        return self


class TorchTrainerOptions(TrainerOptions):
    """How the plain PyTorch loop trains."""

    micro_batch: int | None = Field(
        None,
        ge=1,
        description="sequences per forward pass; left out: about 2,048 tokens on a CPU, the whole"
        " batch on a GPU. Halved where memory does not suffice; the effective batch stays",
    )
    activation_checkpointing: Choice = Field(
        "auto",
        description="compute activations again instead of keeping them; auto: where a single"
        " sequence does not fit otherwise",
    )
    compile: Choice = Field(
        "auto",
        description="torch.compile; auto: on CUDA. Opens the sandbox's compile profile to trainings"
        " of designs that passed their check. Where a block cannot be compiled it is trained as it"
        " is, and the facts of the trial say so",
    )
    compile_backend: str = Field("inductor", description="the backend of torch.compile")
    checkpoint_every_s: float = Field(
        60.0,
        ge=0,
        description="seconds between training checkpoints, from which a trial goes on after a kill"
        " (0: none)",
    )
    stall_tokens: int | None = Field(
        None,
        ge=1,
        description="end a trial whose mean loss over this many tokens is no lower than over any"
        " such stretch before; left out: never",
    )
    slowest_ratio: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="end a trial that trains slower than this share of the seed gpt of the same"
        " width and depth, measured beside it; left out: never. It reads a clock, so that a run"
        " no longer repeats itself",
    )
    processes: int = Field(
        1,
        ge=1,
        description="processes that train one design together (DDP), one GPU each; more than one"
        ' needs [executor] isolation = "process", since they talk through sockets',
    )
