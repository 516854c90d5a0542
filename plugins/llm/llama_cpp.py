"""A GGUF file in this process, through xllamacpp: llama.cpp without a server."""

from __future__ import annotations

import hashlib
import importlib
import threading
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.api import (
    INCIDENTAL,
    PATH,
    Field,
    LLMPrice,
    LLMReply,
    LLMRequest,
    LLMRequestRefused,
    LLMUnavailable,
    Options,
    incidental_with,
)
from genesys_engine.plugins.llm.failures import flat
from genesys_engine.plugins.llm.schemas import response_format

PACKAGE = "xllamacpp"
LARGEST_SEED = 2**32
QUIET = -1
CHUNK = 1 << 20


class LlamaCppOptions(Options):
    """The file and how it is run.

    A model is identified by `sha256`, or by the path where that is left out.
    """

    path: str = Field(
        min_length=1, description="GGUF file", json_schema_extra=PATH | incidental_with("sha256")
    )
    sha256: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        description="of the file, in hex; checked before it is loaded",
    )
    n_ctx: int = Field(8192, ge=256, description="tokens of prompt and reply together")
    cache_prompt: bool = Field(
        False,
        description="keep what a prompt shares with the last one: much faster, and the reply may"
        " then depend on what was asked before",
    )
    speculate: bool = Field(
        True,
        description="guess what comes next where the reply repeats the prompt, as a changed block"
        " repeats the old one, and check many guessed tokens in one pass: the same replies, but for"
        " rounding, sooner",
        json_schema_extra=INCIDENTAL,
    )
    threads: int = Field(2, ge=1, description="of the processor", json_schema_extra=INCIDENTAL)
    parallel: int = Field(
        1,
        ge=1,
        description="requests answered side by side: the weights are read from memory once for all"
        " of them; the same replies, but for rounding, which then depends on what else is asked;"
        " each takes the memory of n_ctx tokens",
        json_schema_extra=INCIDENTAL,
    )


class LlamaCppBackend:
    """Answers `parallel` requests at once; the file is loaded when the first comes."""

    Options = LlamaCppOptions
    price = LLMPrice(0.0, 0.0)

    def __init__(self, options: LlamaCppOptions) -> None:
        self.options = options
        self._free = threading.BoundedSemaphore(options.parallel)
        self._loading = threading.Lock()
        self._server: Any = None
        self._checked = False

    def prepare(self) -> None:
        """Raise `InputError` where the package or the file is missing, or the file is another."""
        _package()
        path = Path(self.options.path).expanduser()
        if not path.is_file():
            raise InputError(
                "no such model file",
                where=f"[llm] path = {self.options.path!r}",
                hint="docs/llm.md says where to get one",
            )
        if self.options.sha256 and not self._checked:
            found = _sha256(path)
            if found != self.options.sha256:
                raise InputError(
                    f"the model file is another one: its SHA-256 is {found}",
                    where="[llm] sha256",
                    hint="fetch it again, or leave sha256 out if you trust it",
                )
        self._checked = True

    def complete(self, request: LLMRequest) -> LLMReply:
        """Return the reply; see `LLMBackend`."""
        asked = {
            "messages": [{"role": role, "content": text} for role, text in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed % LARGEST_SEED,
            "cache_prompt": self.options.cache_prompt,
            "t_max_predict_ms": int(1000 * request.deadline_s),
        }
        if request.schema is not None:
            asked["response_format"] = response_format(request.schema)
        if not self._free.acquire(timeout=request.deadline_s):
            raise LLMUnavailable("the model is busy with other requests")
        try:
            answer: dict[str, Any] = self._loaded().handle_chat_completions(asked)
        except ValueError as error:  # of the request: a schema, a template
            raise LLMRequestRefused(f"llama.cpp: {flat(error)}") from error
        finally:
            self._free.release()
        return _read(answer)

    def close(self) -> None:
        """Free the model."""
        places = range(self.options.parallel)
        if taken := sum(self._free.acquire(blocking=False) for _ in places):
            if taken == len(places):  # a model that is at work goes with the process
                self._server = None
            self._free.release(taken)

    def _loaded(self) -> Any:
        with self._loading:
            if self._server is None:
                self._server = self._load()
            return self._server

    def _load(self) -> Any:
        self.prepare()
        package = _package()
        parameters = package.CommonParams()
        parameters.model.path = str(Path(self.options.path).expanduser())
        parameters.n_ctx = self.options.n_ctx * self.options.parallel
        parameters.n_parallel = self.options.parallel
        parameters.cpuparams.n_threads = self.options.threads
        parameters.no_host = True
        if self.options.speculate:
            kinds = package.common_speculative_type
            parameters.speculative.types = [kinds.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        parameters.verbosity = QUIET
        try:
            return package.Server(parameters)
        except Exception as error:
            raise EnvironmentProblem(
                f"the model cannot be loaded: {error}",
                where=self.options.path,
                hint="is it a GGUF file, and is there memory for it?",
            ) from error


def _package() -> Any:
    try:
        return importlib.import_module(PACKAGE)
    except ImportError as error:
        raise InputError(
            f"the package {PACKAGE} is not installed",
            where='[llm] use = "llama_cpp"',
            hint="pip install 'genesys-engine[local-llm]'",
        ) from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _read(answer: dict[str, Any]) -> LLMReply:
    if (fault := answer.get("error")) is not None:
        message = f"llama.cpp: {fault.get('message', fault)}"
        if 400 <= int(fault.get("code", 500)) < 500:
            raise LLMRequestRefused(message)
        raise LLMUnavailable(message)
    choice, used = answer["choices"][0], answer["usage"]
    text = choice["message"].get("content") or ""
    about = {"finish_reason": choice["finish_reason"]}
    return LLMReply(text, used["prompt_tokens"], used["completion_tokens"], about, 0.0)
