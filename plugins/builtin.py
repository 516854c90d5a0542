"""The built-in components, registered through the same hooks as those of any plugin.

Targets are strings, so listing them imports nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genesys_engine.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from genesys_engine.plugins.api import Register


@hookimpl
def genesys_register_trainers(register: Register) -> None:
    """The pure PyTorch loop, and the one of transformers."""
    register(
        "torch",
        "genesys_engine.plugins.trainers.pytorch:TorchTrainer",
        options="genesys_engine.plugins.trainers.options:TorchTrainerOptions",
        summary="Muon and AdamW with cosine schedule in plain PyTorch, on CPU or CUDA",
    )
    register(
        "hf",
        "genesys_engine.plugins.trainers.hf:HfTrainer",
        options="genesys_engine.plugins.trainers.options:TrainerOptions",
        summary="the same training by transformers.Trainer",
    )


SKILLS = {
    "mqar": ("Mqar", "associative recall (MQAR), by a small model of the block alone"),
    "copying": ("Copying", "selective copying of tokens among blanks; likewise"),
    "recall_noisy": ("RecallNoisy", "associative recall among noise; likewise"),
    "memorise": ("Memorise", "memorised values, seen in training only; likewise"),
}
"""Name -> stem of the classes, and summary."""


@hookimpl
def genesys_register_evaluators(register: Register) -> None:
    """Held-out text, lm-eval, and skills."""
    base = "genesys_engine.plugins.evaluators"
    register(
        "heldout",
        f"{base}.heldout:HeldoutEvaluator",
        summary="bits per byte of held-out text",
    )
    register(
        "lm_eval",
        f"{base}.lm_eval:LmEvalEvaluator",
        summary="zero-shot tasks of lm-eval, built offline from held-out text",
    )
    for name, (stem, summary) in SKILLS.items():
        register(
            name,
            f"{base}.skills:{stem}Evaluator",
            options=f"{base}.options:{stem}Options",
            summary=summary,
        )


KNOWLEDGE_SOURCES = {
    "library": ("LibrarySource", "reference cards on published architectures and techniques"),
    "folder": ("FolderSource", "your Markdown, text, PDF, BibTeX and JSON-lines files"),
    "arxiv": ("ArxivSource", "papers of arXiv, by identifier or search"),
    "semantic_scholar": ("SemanticScholarSource", "papers of Semantic Scholar"),
    "web": ("WebSource", "any search endpoint compatible with OpenAI's"),
}
"""Name, which is its module's too -> class and summary."""


@hookimpl
def genesys_register_knowledge_sources(register: Register) -> None:
    """Cards, files and public services."""
    base = "genesys_engine.plugins.knowledge.sources"
    for name, (component, summary) in KNOWLEDGE_SOURCES.items():
        options = f"{base}.options:{component.removesuffix('Source')}Options"
        register(name, f"{base}.{name}:{component}", options=options, summary=summary)


LLM_BACKENDS = {
    "litellm": ("LiteLLM", "any provider, and any server that speaks OpenAI's protocol"),
    "llama_cpp": ("LlamaCpp", "a GGUF file in this process, through xllamacpp"),
    "replay": ("Replay", "replays recorded replies"),
    "scripted": ("Scripted", "replies from a list, for tests"),
}
"""Name, which is its module's too -> stem of the classes, and summary."""


@hookimpl
def genesys_register_llm_backends(register: Register) -> None:
    """Services, files, recordings, and a grammar in place of a model."""
    base = "genesys_engine.plugins.llm"
    for name, (stem, summary) in LLM_BACKENDS.items():
        options = f"{base}.{name}:{stem}Options"
        register(name, f"{base}.{name}:{stem}Backend", options=options, summary=summary)
    module = "genesys_engine.operators.llm.grammar_backend"
    register(
        "grammar",
        f"{module}:GrammarBackend",
        options=f"{module}:GrammarOptions",
        summary="no model: units that the grammar writes, with settable faults; a simulation",
    )


OPERATORS = {
    "hyperparameter_mutation": ("HyperparameterMutation", "other legal hyper-parameters"),
    "unit_replacement": ("UnitReplacement", "a unit replaced by another unit, same children"),
    "subtree_mutation": ("SubtreeMutation", "a new subtree in place of an old one"),
    "insertion": ("Insertion", "a subtree wrapped in a unit with a slot for it"),
    "removal": ("Removal", "a unit removed, its child in its place"),
    "typed_crossover": ("TypedCrossover", "a subtree of another parent, matched by interface"),
    "layering": ("Layering", "layers that differ by depth: made, reordered, merged, made alike"),
    "new_unit": ("NewUnit", "a unit written by the grammar, as Python source"),
    "seed_design": ("SeedDesign", "a design from scratch, without parents"),
}
"""Name, which is its module's too -> class and summary."""


LLM_OPERATORS = {
    "llm_mutation": ("LLMMutation", "units rewritten by language models, one by one"),
    "llm_crossover": ("LLMCrossover", "units of two parents merged by language models"),
    "llm_scratch": ("LLMScratch", "a new root block by language models, without parents"),
}
"""Name, which is "llm_" and its module's -> class and summary; each needs `[llm]`."""


@hookimpl
def genesys_register_operators(register: Register) -> None:
    """Typed genetic programming without an LLM, and design by language models."""
    for name, (component, summary) in OPERATORS.items():
        target = f"genesys_engine.operators.{name}:{component}"
        register(name, target, options=f"{target}Options", summary=summary)
    for name, (component, summary) in LLM_OPERATORS.items():
        target = f"genesys_engine.operators.llm.{name.removeprefix('llm_')}:{component}"
        register(name, target, options=f"{target}Options", summary=summary)


@hookimpl
def genesys_register_selectors(register: Register) -> None:
    """Selection by fitness and confidence, by rank or age, around one incumbent, by chance."""
    module = "genesys_engine.engine.select.selectors"
    strategies = "genesys_engine.engine.select.strategies"
    register(
        "aging",
        f"{strategies}:AgingSelector",
        options=f"{strategies}:AgingOptions",
        summary="regularised evolution: the best of a sample varies, the oldest die",
    )
    register(
        "local",
        f"{strategies}:LocalSelector",
        options=f"{strategies}:LocalOptions",
        summary="local search: changes of one incumbent until a better one replaces it",
    )
    register(
        "quadrant",
        f"{module}:QuadrantSelector",
        options=f"{module}:SelectionOptions",
        summary="good or poor fitness against high or low confidence; exploits and explores",
    )
    register(
        "tournament",
        f"{module}:TournamentSelector",
        options=f"{module}:TournamentOptions",
        summary="tournament: the best of a few random candidates",
    )
    register(
        "nsga2",
        f"{module}:Nsga2Selector",
        options=f"{module}:Nsga2Options",
        summary="Pareto rank and crowding over quality, parameters and speed",
    )
    register(
        "random",
        f"{module}:RandomSelector",
        options=f"{module}:SelectionOptions",
        summary="uniformly random: the control",
    )


@hookimpl
def genesys_register_executors(register: Register) -> None:
    """Worker processes on this machine, or on the nodes of a cluster."""
    register(
        "process",
        "genesys_engine.plugins.executors.process:ProcessExecutor",
        summary="isolated worker processes on this machine",
    )
    register(
        "ray",
        "genesys_engine.plugins.executors.ray:RayExecutor",
        options="genesys_engine.plugins.executors.ray_cluster:RayOptions",
        summary="isolated worker processes on the nodes of a Ray cluster",
    )
    register(
        "slurm",
        "genesys_engine.plugins.executors.slurm:SlurmExecutor",
        summary="a job per trial on a Slurm cluster; jobs outlive the engine",
    )


@hookimpl
def genesys_register_trackers(register: Register) -> None:
    """Other systems that show a run; each needs an extra of its own."""
    base = "genesys_engine.plugins.trackers"
    register(
        "tensorboard",
        f"{base}.tensorboard:TensorboardTracker",
        summary="scalars and sentences for TensorBoard, as files in the run",
    )
    register(
        "wandb",
        f"{base}.wandb:WandbTracker",
        summary="Weights & Biases, offline unless asked otherwise",
    )
    register(
        "mlflow",
        f"{base}.mlflow:MlflowTracker",
        summary="MLflow, in a file of the run or at a server",
    )


@hookimpl
def genesys_register_report_sections(register: Register) -> None:
    """The sections of the report, in the order of `engine.report.page.ORDER`."""
    module = "genesys_engine.engine.report.sections"
    register("tree", f"{module}:evolution_tree", summary="lineage of all designs")
    register("fitness", f"{module}:fitness", summary="gain over designs and time, with noise")
    register("parts", f"{module}:parts", summary="what each part gives, where `explain` measured")
    register("designs", f"{module}:other_designs", summary="the other designs: lineage and tree")
    register("cost", f"{module}:cost", summary="gain against FLOPs, parameters and seconds")
    register(
        "leaderboard",
        f"{module}:leaderboard_table",
        summary="the best designs, each score next to its controls",
    )
    register("finals", f"{module}:finals", summary="the best children with fresh seeds")
    register("rungs", f"{module}:rungs", summary="whether lower rungs predict upper rungs")
    register("best", f"{module}:best_design", summary="the best child: lineage, tree and code")
    register(
        "operators",
        f"{module}:operators_table",
        summary="gain of children over their parents, by operator",
    )
    register("curves", f"{module}:loss_curves", summary="training loss at each rung")
    register("quadrants", f"{module}:quadrants", summary="gain against confidence")
    register("failures", f"{module}:failures_by_cause", summary="failures by cause")
    register("llm", f"{module}:language_models", summary="tokens and cost of language models")
    register("time", f"{module}:time_by_stage", summary="the workers' time by stage")
    register("reproduce", f"{module}:reproduce", summary="how to reproduce the run")
