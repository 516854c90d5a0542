"""Export: the folder stands on its own, and lm-eval's HFLM finds our own scores in it."""

from __future__ import annotations

import json
import os
import runpy
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import commands
import pytest
from engine_process import ask, engine, here

from genesys_engine.engine.export.tasks import write_tasks
from genesys_engine.engine.export.write import CODE, _write_weights, new_folder, write_tokenizer
from genesys_engine.gab.errors import InputError

SEED = "mamba2_mamba2_gpt"  # layers that differ are exported like any others
EXPERIMENT = f"""
[run]
name = "export"
[population]
seeds = ["{SEED}"]
reference = "{SEED}"
[corpus]
max_bytes = 400_000
vocab_size = 400
heldout = 0.2
[[ladder.rungs]]
scale = "0.2M"
verifications = 2
tokens = 8_192
batch_tokens = 512
[[evaluators]]
use = "heldout"
windows = 16
[[evaluators]]
use = "lm_eval"
tasks = ["offline", "minimal_pairs/verb_agreement"]
limit = 40
[budget]
designs = 1
"""

# Runs with -I: no folder of ours on the path; what is installed is shut out as well.
ALONE = """
import sys

class Shut:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "genesys_engine":
            raise ImportError("genesys-engine is not installed here")

sys.meta_path.insert(0, Shut())
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a seed and a child for real."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "export.toml").write_text(EXPERIMENT)
    answer = engine("run", folder / "export.toml", "--out", folder / "run")
    assert answer.code in (0, 1), answer.err
    return folder / "run"


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    folder = run.parent / "model"
    answer = engine("export", run, 0, folder, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["data"]["tasks"] == [
        "continuation",
        "corruption",
        "minimal_pairs_verb_agreement",
    ]
    return folder


def alone(code: str, tmp_path: Path, *words: object) -> dict:
    """Run `code` in a process that knows nothing of the engine; its last line is JSON."""
    script = tmp_path / "alone.py"
    script.write_text(ALONE + textwrap.dedent(code))
    done = commands.run(
        [sys.executable, "-I", script, *map(str, words)],
        timeout=240,
        env={
            **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("}\n"), done.stdout[-3000:]
    answer: dict = json.loads(done.stdout.splitlines()[-1])
    return answer


LOAD = """
    import json
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = sys.argv[1]
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
"""


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_graph_gives_the_logits_of_the_model(run: Path, exported: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    answer = engine("export", run, 0, tmp_path / "graph", "--format", "onnx", "--json")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)["data"]
    assert (said["axes"], said["difference"] < 1e-4) == ("batch", True)
    assert json.loads((tmp_path / "graph/export.json").read_text())["axes"] == "batch"
    session = onnxruntime.InferenceSession(tmp_path / "graph/model.onnx")
    tokens = [5, 77, 300, 9]
    filled = [[*tokens, *[0] * (128 - len(tokens))]]
    (logits,) = session.run(["logits"], {"tokens": filled})
    assert logits[0, len(tokens) - 1].tolist() == pytest.approx(
        our_logits(exported, tokens), abs=1e-4
    )
    tokenizer = json.loads((tmp_path / "graph/tokenizer.json").read_text())
    assert len(tokenizer["model"]["vocab"]) <= logits.shape[-1]


@pytest.mark.slow
def test_it_loads_and_writes_without_the_engine(exported: Path, tmp_path: Path) -> None:
    code = """
    text = "def main():\\n    return"
    inputs = tokenizer(text, return_tensors="pt")
    made = model.generate(**inputs, max_new_tokens=150, do_sample=False)
    loss = model(**inputs, labels=inputs["input_ids"]).loss
    try:
        mask = inputs["attention_mask"].clone()
        mask[:, 0] = 0
        model(inputs["input_ids"], attention_mask=mask)
        refused = ""
    except ValueError as error:
        refused = str(error)
    special = tokenizer("<|endoftext|>")["input_ids"]
    print(json.dumps({
        "length": made.shape[1], "prompt": inputs["input_ids"].shape[1], "loss": float(loss),
        "logits": model(torch.tensor([[5, 77, 300, 9]])).logits[0, -1].tolist(),
        "refused": refused, "special": len(special), "text": tokenizer.decode(made[0]),
        "engine": [name for name in sys.modules if name.startswith("genesys_engine")],
    }))
    """
    found = alone(LOAD + code, tmp_path, exported)
    assert found["engine"] == []
    assert found["text"].startswith("def main():\n    return")
    ended = found["length"] < found["prompt"] + 150  # an end-of-text token came
    assert ended or found["length"] == found["prompt"] + 150 > 128, "beyond the context"
    assert 0 < found["loss"] < 7
    assert "pad on the right" in found["refused"]
    assert found["special"] > 1, "a text that spells the end-of-text token stays text"
    assert found["logits"] == pytest.approx(our_logits(exported, [5, 77, 300, 9]), abs=1e-5)


def our_model(folder: Path) -> Any:
    """Return our own model around the exported block, with the exported weights."""
    from genesys_engine.gab.compose import load_block
    from genesys_engine.gab.model import LanguageModel
    from genesys_engine.gab.scales import ModelConfig
    from genesys_engine.plugins.checkpoint import load_checkpoint

    config = json.loads((folder / "config.json").read_text())
    shape = {key: config[key] for key in ("d_model", "n_blocks", "vocab_size", "context")}
    model = LanguageModel(load_block((folder / "block.py").read_text()), ModelConfig(**shape))
    load_checkpoint(model, folder / "model.safetensors")
    return model.eval()


def our_logits(folder: Path, tokens: list[int]) -> list[float]:
    import torch

    with torch.inference_mode():
        logits: list[float] = our_model(folder)(torch.tensor([tokens]))[0, -1].tolist()
    return logits


TASKS = ["continuation", "corruption", "minimal_pairs_verb_agreement"]
BOUNDARIES = [
    ("import", " os"), ("import ", "os"), ("import\n", "os"), ("", "def"), ("\n", "def"),
    ("self", "."), ("retu", "rn"), ("x = [1, 2", ", 3]"), ("héll", "o"), ("日", "本"),
    ("日 ", "本"), ("import", ""), ("import ", ""), ("value = 1\n" * 60, " return"),
    ("def", " value = 1\n" * 40),
]  # fmt: skip
HFLM = """
    import json
    from lm_eval.api.instance import Instance
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    folder = sys.argv[1]
    tasks = sys.argv[2].split(",")
    lm = HFLM(pretrained=folder, trust_remote_code=True, device="cpu", batch_size=4)
    results = simple_evaluate(
        model=lm, tasks=tasks,
        task_manager=TaskManager(include_path=folder + "/tasks", include_defaults=False),
        limit=40, bootstrap_iters=0,
    )
    lm.logits_cache, boundaries = False, []
    for pair in json.loads(sys.argv[3]):
        try:
            asked = [Instance("loglikelihood", {}, tuple(pair), 0)]
            boundaries.append(lm.loglikelihood(asked, disable_tqdm=True)[0])
        except AssertionError:
            boundaries.append(None)
    print(json.dumps({
        "acc": {task: results["results"][task]["acc,none"] for task in tasks},
        "likelihoods": {
            task: [[r[0] for r in sample["filtered_resps"]] for sample in results["samples"][task]]
            for task in tasks
        },
        "boundaries": boundaries,
    }))
"""


@pytest.fixture(scope="module")
def theirs(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What lm-eval's own model finds in the folder."""
    words = (exported, ",".join(TASKS), json.dumps(BOUNDARIES))
    return alone(HFLM, tmp_path_factory.mktemp("hflm"), *words)


@pytest.mark.slow
def test_lm_evals_own_model_gives_our_scores(exported: Path, theirs: dict) -> None:
    scores = json.loads((exported / "scores.json").read_text())["scores"]
    for task, accuracy in theirs["acc"].items():
        own = scores[f"{task.replace('pairs_verb', 'pairs/verb')}:acc"]
        assert own["n"] == 40
        assert accuracy == pytest.approx(own["value"], abs=1e-5)
    own_likelihoods = our_likelihoods(exported, TASKS)
    for task in TASKS:
        for ours, others in zip(own_likelihoods[task], theirs["likelihoods"][task], strict=True):
            assert ours == pytest.approx(others, rel=1e-5, abs=1e-4), task


@pytest.mark.slow
def test_boundaries_are_those_of_lm_evals_own_model(exported: Path, theirs: dict) -> None:
    """It gives no answer where a side has no token or the answer exceeds the window."""
    lm = our_lm(exported)
    compared = 0
    for pair, answer in zip(BOUNDARIES, theirs["boundaries"], strict=True):
        if answer is None:
            continue
        before, _ = lm._encode_pair(*pair)
        whole = lm.tok_encode("".join(pair))
        if before in (whole[: len(before)], [lm.eot_token_id]):
            (ours,) = ask_likelihoods(lm, [pair])
            assert ours == pytest.approx(answer[0], rel=1e-5, abs=1e-4), pair
            compared += 1
    assert compared >= 8


def our_lm(folder: Path) -> Any:
    """Return our own `LM` around the exported weights."""
    from genesys_engine.plugins.corpus import Corpus
    from genesys_engine.plugins.evaluators.lm_eval_model import CorpusLM

    ((text,),) = ask(folder.parent / "run", "SELECT value FROM meta WHERE key = 'corpus'")
    return CorpusLM(our_model(folder), Corpus.open(json.loads(text)["folder"]), 4096)


def ask_likelihoods(lm: Any, pairs: list[tuple[str, str]]) -> list[float]:
    from lm_eval.api.instance import Instance

    asked = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
    return [score for score, _ in lm.loglikelihood(asked)]


def our_likelihoods(folder: Path, tasks: list[str]) -> dict[str, list[list[float]]]:
    """Return what our own `LM` gives the choices of the first 40 items of each task."""
    lm = our_lm(folder)
    found = {}
    for task in tasks:
        lines = (folder / "tasks" / f"{task}.jsonl").read_text().splitlines()[:40]
        items = [json.loads(line) for line in lines]
        pairs = [(item["context"], choice) for item in items for choice in item["choices"]]
        scores = iter(ask_likelihoods(lm, pairs))
        found[task] = [[next(scores) for _ in item["choices"]] for item in items]
    return found


@pytest.mark.slow
def test_the_card_tells_what_it_is(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    for part in (
        f"# {SEED} at 0.2M",
        f"seed:{SEED}",
        "Tree digest",
        "Findings of the check",
        "8,",
    ):
        assert part in card
    row = next(line for line in card.splitlines() if line.startswith("| bits_per_byte |"))
    assert all(cell.strip() not in ("", "–") for cell in row.split("|")[1:-1]), row
    assert "--limit 40" in card
    for name in ("block.py", *CODE):
        compile((exported / name).read_text(), name, "exec")
    rules = ("--isolated", "--select", "E,F,I", "--line-length", "100")
    lint = [sys.executable, "-m", "ruff", "check", *rules, *(exported / name for name in CODE)]
    done = commands.run(lint)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_nothing_is_overwritten_and_nothing_half_written_stays(run: Path, exported: Path) -> None:
    here("export", run, 0, exported).refused(2, "not empty", "new folder")
    here("export", run, 0, exported / "README.md").refused(2, "file of this name")
    empty = run.parent / "empty"
    empty.mkdir()
    named = here("export", run, SEED, empty, "--rung", "0.2M", "--seed", 0)
    assert named.code == 0, named.err
    assert [line[:13] for line in named.err.splitlines() if line.startswith("exporting")] == [
        f"exporting {n}/3" for n in (1, 2, 3)
    ]
    assert (empty / "model.safetensors").is_file()
    here("export", run, 0, run.parent / "x", "--rung", "1M").refused(2, "no rung '1M'", "0.2M")
    here("export", run, 0, run.parent / "x", "--seed", 7).refused(2, "seed 7", "0.2M seed 0")
    here("export", run, 99, run.parent / "x").refused(2, "no design 99")
    here("export", run, "mamba", run.parent / "x").refused(2, "no design 'mamba'", SEED)
    assert not list(run.parent.glob("*x*.partial*"))
    assert not (run.parent / "x").exists()


@pytest.mark.slow
def test_a_design_without_weights_is_refused_with_those_that_have_some(
    run: Path, tmp_path: Path
) -> None:
    kept = sorted((run / "checkpoints").iterdir())
    moved = kept[0].rename(tmp_path / kept[0].name)
    try:
        answer = here("export", run, 0, tmp_path / "model")
    finally:
        moved.rename(kept[0])
    others = "designs with weights: 1" if len(kept) > 1 else "has no weights"
    answer.refused(2, "design 0 has no trained weights", others)


def test_an_exported_item_may_hold_any_separator_but_a_line_feed(tmp_path: Path) -> None:
    item = {"context": "One\u2028two\u0085three:", "choices": [" yes", " no"], "label": 0}
    items = tmp_path / "continuation.jsonl"
    items.write_text(json.dumps(item, ensure_ascii=False) + "\n", encoding="utf-8")
    corpus: Any = SimpleNamespace(task_items=lambda task: items)
    written = write_tasks(
        tmp_path / "tasks", corpus, [{"use": "lm_eval", "tasks": ["continuation"]}]
    )
    assert written == ("continuation",)
    loader = runpy.run_path(str(tmp_path / "tasks" / "items.py"))
    assert loader["load"]("continuation.jsonl")["test"].to_list() == [item]


# --- weights that a design may have written itself ---


def write_checkpoint(path: Path, metadata: dict[str, Any]) -> Path:
    """Write two tensors, as safetensors does, with whatever metadata there is."""
    import numpy as np

    shapes = {"embedding.weight": [1000, 16], "blocks.0.a": [16, 16]}
    tensors, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * shape[0] * shape[1]
        tensors[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps({"__metadata__": metadata, **tensors}).encode()
    data = np.arange(end // 4, dtype=np.float32).tobytes()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


def test_a_pretrained_tokenizer_keeps_its_own_end_of_text(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from genesys_engine.engine.corpus import CorpusOptions, prepare
    from genesys_engine.plugins.corpus import Corpus

    options = CorpusOptions(max_bytes=400_000, vocab_size=400, heldout=0.2)
    trained = prepare(options, tmp_path / "one") / "tokenizer.json"
    theirs = tmp_path / "tokenizer.json"
    theirs.write_text(trained.read_text().replace("<|endoftext|>", "</s>"))
    options = options.model_copy(update={"tokenizer": str(theirs)})
    corpus = Corpus.open(prepare(options, tmp_path / "two"))
    write_tokenizer(tmp_path / "out", corpus, 64)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(tokenizer) == corpus.vocab_size
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == corpus.end_of_text


def test_a_tensor_that_two_names_of_a_block_share_is_written_under_both(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_model

    block = torch.nn.ModuleDict({"a": torch.nn.Linear(4, 4), "n": torch.nn.LayerNorm(4)})
    block["b"] = block["a"]
    model = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([block])})
    save_model(model, str(tmp_path / "x"))
    assert _write_weights(tmp_path / "x", tmp_path / "y", 1) == 4 * 4 + 4 + 4 + 4
    written, own = load_file(tmp_path / "y"), model.state_dict()
    assert written.keys() == own.keys() >= {"blocks.0.a.weight", "blocks.0.b.weight"}
    assert all(torch.equal(written[name], own[name]) for name in own)


@pytest.mark.parametrize(
    "metadata",
    [
        {f"more.{n}": "blocks.0.a" for n in range(1000)},
        {f"blocks.1.{n}": "blocks.0.a" for n in range(1000)},  # there is one block
        {f"blocks.0.x{n}": "embedding.weight" for n in range(1000)},
        {"blocks.0.a": "embedding.weight", "format": "pt", "blocks.0.b": "nothing"},
    ],
)
def test_what_is_no_tie_within_the_blocks_is_not_copied(
    tmp_path: Path, metadata: dict[str, str]
) -> None:
    from safetensors.torch import load_file

    source, target = write_checkpoint(tmp_path / "x", metadata), tmp_path / "y"
    assert _write_weights(source, target, 1) == 1016 * 16
    written = load_file(target)
    assert {name: list(tensor.shape) for name, tensor in written.items()} == {
        "embedding.weight": [1000, 16],
        "blocks.0.a": [16, 16],
    }


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({f"blocks.0.x{n}": "blocks.0.a" for n in range(1000)}, "copies of others, far too many"),
        ({"format": 1}, "safetensors file: .*header"),
    ],
)
def test_a_spoilt_checkpoint_is_told_with_its_place_and_a_way_out(
    tmp_path: Path, metadata: dict[str, Any], told: str
) -> None:
    source = write_checkpoint(tmp_path / "x", metadata)
    with pytest.raises(InputError, match=told) as caught:
        _write_weights(source, tmp_path / "y", 1)
    assert caught.value.where == str(source)
    assert "train it again" in str(caught.value.hint)
    assert not (tmp_path / "y").exists()


def test_of_two_exports_into_one_folder_the_first_to_end_gets_it(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "x"

    def export_late() -> None:
        with new_folder(folder) as late:
            with new_folder(folder) as first:
                (first / "by").write_text("first")
            (late / "by").write_text("late")  # it was not the other one's to remove

    with pytest.raises(InputError, match="not empty"):
        export_late()
    assert list(folder.parent.iterdir()) == [folder]
    assert (folder / "by").read_text() == "first"
