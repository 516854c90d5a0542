"""The boundary between a context and its continuation: all of the answer is scored, or none."""

from __future__ import annotations

import itertools
import math
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.evaluators.lm_eval_model import CorpusLM

CONTEXT = 16
END = "<|endoftext|>"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Byte-level BPE without a split into words, so that tokens reach across anything."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[END],
        show_progress=False,
    )
    rng = random.Random(0)
    words = ["there", "the", " the", " m", " yes", " no", "\n", "你好", "你们", "e\u0301", "  "]
    texts = ("".join(rng.choices(words, k=12)) for _ in range(300))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class Small(nn.Module):
    """A real GPT-2 of two layers, as lm-eval's own model has it, and as ours has it."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=vocab_size, n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=2
        )
        self.inner = GPT2LMHeadModel(config).eval()
        nn.init.normal_(self.inner.transformer.wte.weight, std=0.5)
        self.config = SimpleNamespace(context=CONTEXT, vocab_size=vocab_size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.inner(tokens).logits
        return logits


@pytest.fixture(scope="module")
def small(tokenizer: Tokenizer) -> Small:
    return Small(tokenizer.get_vocab_size())


@pytest.fixture(scope="module")
def ours(small: Small, tokenizer: Tokenizer) -> CorpusLM:
    corpus: Any = SimpleNamespace(tokenizer=tokenizer, end_of_text=tokenizer.token_to_id(END))
    return CorpusLM(small, corpus, 64)


@pytest.fixture(scope="module")
def theirs(small: Small, tokenizer: Tokenizer) -> HFLM:
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)
    # Its cache mixes up requests that have all tokens but the last in common and another boundary.
    return HFLM(
        pretrained=small.inner,
        tokenizer=fast,
        device="cpu",
        max_length=CONTEXT,
        logits_cache=False,
    )


def request(context: str, continuation: str, about: tuple = (None, None, None)) -> Instance:
    return Instance("loglikelihood", {}, (context, continuation), 1, metadata=about)


def likelihood(model: Small, before: list[int], after: list[int]) -> float:
    """Return the sum over `after` of each token's log-probability, one forward pass for each."""
    total = 0.0
    for i, token in enumerate(after):
        seen = torch.tensor([[*before, *after[:i]][-CONTEXT:]])
        with torch.inference_mode():
            total += float(model(seen)[0, -1].log_softmax(-1)[token])
    return total


PIECES = [
    "",
    "the",
    "re",
    "reb",
    "m",
    " ",
    "  ",
    "\n",
    " the",
    "你",
    "好",
    "们",
    "e",
    "\u0301",
    ".",
]
PAIRS = [
    (context, continuation)
    for first, second, continuation in itertools.product(PIECES, PIECES, PIECES)
    if (context := first + second) + continuation
]


def crosses(tokenizer: Tokenizer, context: str, continuation: str) -> bool:
    """Tell whether a token of the whole reaches from the context into the continuation."""
    kept = context.rstrip()
    before, whole = tokenizer.encode(kept).ids, tokenizer.encode(context + continuation).ids
    return whole[: len(before)] != before


def test_the_tokens_are_those_of_the_text_that_was_asked(
    ours: CorpusLM, tokenizer: Tokenizer
) -> None:
    crossed = 0
    for context, continuation in PAIRS:
        before, after = ours._encode_pair(context, continuation)
        assert before
        kept = context.rstrip()
        text = tokenizer.decode([*(before if kept else ()), *after], skip_special_tokens=False)
        assert text == context + continuation
        assert not kept or before == tokenizer.encode(kept).ids
        assert bool(after) == bool(context[len(kept) :] + continuation)
        crossed += crosses(tokenizer, context, continuation)
    assert crossed > 100, "many of these have a token that reaches across"


@pytest.mark.parametrize(("context", "continuation"), [("the", "re"), ("the", "reb"), ("你", "好")])
def test_a_continuation_that_merges_into_its_context_is_scored_whole(
    context: str, continuation: str, ours: CorpusLM, small: Small, tokenizer: Tokenizer
) -> None:
    assert crosses(tokenizer, context, continuation)
    before, after = (tokenizer.encode(text).ids for text in (context, continuation))
    ((score, greedy),) = ours.loglikelihood([request(context, continuation)])
    assert score == pytest.approx(likelihood(small, before, after), abs=1e-4)
    assert score < -0.1
    assert not greedy


def test_lm_evals_own_model_says_the_same_wherever_it_can(
    ours: CorpusLM, theirs: HFLM, tokenizer: Tokenizer
) -> None:
    """It cannot, by its assertions, where either side has no token; it drops what has merged."""
    rng = random.Random(0)
    asked = [pair for pair in PAIRS if not crosses(tokenizer, *pair)]
    for _ in range(40):  # longer than the window, together and alone
        words = ["".join(rng.choices(PIECES[1:], k=rng.randrange(1, 30))) for _ in range(2)]
        asked.append((words[0] + ".", " " + words[1]))
    able = [request(*pair) for pair in asked if can(theirs, *pair)]
    assert len(able) > 1000
    wanted = theirs.loglikelihood(able, disable_tqdm=True)
    for each, found, (score, greedy) in zip(able, ours.loglikelihood(able), wanted, strict=True):
        assert found == (pytest.approx(score, abs=1e-4), greedy), each.args


def can(theirs: HFLM, context: str, continuation: str) -> bool:
    """Tell whether lm-eval's own model gives an answer: it asserts that both sides have tokens."""
    if not context:
        return bool(continuation)
    before, after = theirs._encode_pair(context, continuation)
    return bool(before) and 0 < len(after) <= CONTEXT


def test_a_continuation_longer_than_the_window_is_scored_token_by_token(
    ours: CorpusLM, theirs: HFLM, tokenizer: Tokenizer
) -> None:
    text = " no yes m" * 20
    with pytest.raises(AssertionError):
        theirs.loglikelihood([request("the", text)], disable_tqdm=True)
    assert len(ours._encode_pair("the", text)[1]) > 2 * CONTEXT
    (found,) = ours.loglikelihood([request("the", text)])
    rolled = ours.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0)])
    assert math.isfinite(found[0])
    assert found[0] != rolled[0], "the first token is conditioned on the context"
    assert found[0] < ours.loglikelihood([request("the", text[: len(text) // 2])])[0][0]


@pytest.mark.parametrize("context", ["", " ", "\n\n"])
def test_without_context_the_end_of_a_document_stands_before(
    context: str, ours: CorpusLM, small: Small, tokenizer: Tokenizer
) -> None:
    ((score, _),) = ours.loglikelihood([request(context, "the m")])
    after = tokenizer.encode(context + "the m").ids
    end = tokenizer.token_to_id(END)
    assert score == pytest.approx(likelihood(small, [end], after), abs=1e-4)


@pytest.mark.parametrize("context", ["", "the"])
def test_an_empty_answer_names_its_item(context: str, ours: CorpusLM) -> None:
    with pytest.raises(InputError) as error:
        ours.loglikelihood([request("the", " m"), request(context, "", ("my_task", 7, 1))])
    assert "item 7 of the task my_task" in error.value.message
    assert "answer 2" in error.value.message


def test_a_prompt_is_kept_where_the_answer_may_fill_the_window(tokenizer: Tokenizer) -> None:
    """lm-eval's own model refuses to write as many tokens as its window holds."""
    seen: list[int] = []

    class Written(nn.Module):
        config = SimpleNamespace(context=CONTEXT)

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def generate(self, tokens: torch.Tensor, count: int) -> torch.Tensor:
            seen.append(tokens.shape[1])
            return torch.cat((tokens, tokens[:, -1:].expand(-1, count)), 1)

    corpus: Any = SimpleNamespace(tokenizer=tokenizer, end_of_text=0)
    lm = CorpusLM(Written(), corpus, 64)
    prompt = "the m" * 20
    for count, kept in [(4, CONTEXT - 4), (CONTEXT, CONTEXT), (256, CONTEXT)]:
        seen.clear()
        lm.generate_until([Instance("generate_until", {}, (prompt, {"max_gen_toks": count}), 0)])
        assert seen[0] == kept
