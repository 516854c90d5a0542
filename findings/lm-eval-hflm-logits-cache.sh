#!/usr/bin/env bash
# lm-eval 0.4.13, HFLM: a likelihood depends on what else is asked in the same call.
#
# By default (`logits_cache=True`) requests whose tokens agree in all but the last one share a
# forward pass.  They are put together by those tokens alone, wherever the boundary between context
# and continuation lies: a continuation of one token then gets logits of another length, and its
# likelihood is read at the wrong place.  One would expect the numbers of each asked alone.
#
# Seen: " the" after "m the" asked alone and beside " the the" after "m":
#   alone -0.0001, together -20.9366, together without the cache -0.0001
#
# Exits 0 while that is so.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q lm_eval==0.4.13 torch==2.13.0 transformers==5.23.0 \
  tokenizers==0.23.3 accelerate==1.15.0 datasets==5.2.0
cd "$work"
HF_HUB_OFFLINE=1 HF_HOME="$work/hf" OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import logging

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

logging.disable(logging.WARNING)
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(
    vocab_size=300, initial_alphabet=alphabet, special_tokens=["<eot>"], show_progress=False
)
tokenizer.train_from_iterator(["there there the the m"] * 50, trainer)
torch.manual_seed(0)
size = tokenizer.get_vocab_size()
gpt = GPT2LMHeadModel(GPT2Config(vocab_size=size, n_positions=16, n_embd=32, n_layer=2, n_head=2))
torch.nn.init.normal_(gpt.transformer.wte.weight, std=0.5)
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eot>")


def scores(cache, *pairs):
    model = HFLM(
        pretrained=gpt.eval(), tokenizer=fast, device="cpu", max_length=16, logits_cache=cache
    )
    asked = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
    return [score for score, _ in model.loglikelihood(asked, disable_tqdm=True)]


short, long = ("m the", " the"), ("m", " the the")
alone, together, without = (
    scores(True, short)[0],
    scores(True, short, long)[0],
    scores(False, short, long)[0],
)
print(f"alone {alone:.4f}, together {together:.4f}, together without the cache {without:.4f}")
raise SystemExit(0 if abs(alone - without) < 1e-4 < abs(alone - together) else 1)
PY
