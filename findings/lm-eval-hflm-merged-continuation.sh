#!/usr/bin/env bash
# lm-eval 0.4.13, HFLM: what the tokenizer merges into the context is not scored.
#
# A continuation's tokens are those of the whole text beyond the number of tokens that the context
# has by itself.  Where a token reaches across the boundary (possible with `target_delimiter: ""`),
# the rest of the tokens is another text: "reb" after "the" is scored as "b" after "the", and of
# "re" nothing is left, which ends the whole evaluation with a bare AssertionError that names no
# item.  One would expect the likelihood of all of the continuation, or an error that names it.
#
# Seen ("there" is one token):
#   the|re  -> tokens [] : AssertionError
#   the|reb -> tokens ['b'] : scored as the|b
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
model = HFLM(pretrained=gpt.eval(), tokenizer=fast, device="cpu", max_length=16)


def score(context, continuation):
    asked = [Instance("loglikelihood", {}, (context, continuation), 0)]
    return model.loglikelihood(asked, disable_tqdm=True)[0][0]


def tokens(context, continuation):
    return [tokenizer.id_to_token(i) for i in model._encode_pair(context, continuation)[1]]


try:
    score("the", "re")
    stopped = False
except AssertionError as error:
    stopped = str(error) == ""
print("the|re ", tokens("the", "re"), "AssertionError without a word" if stopped else "scored")
dropped = score("the", "reb") == score("the", "b")
print("the|reb", tokens("the", "reb"), "scored as the|b" if dropped else "scored otherwise")
raise SystemExit(0 if stopped and dropped else 1)
PY
