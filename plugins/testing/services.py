"""What a knowledge source and a back end of a language model promise."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

from genesys_engine.plugins.api import Document, InputError, LLMReply, LLMRequest
from genesys_engine.plugins.testing.contract import Contract

GRACE_S = 5.0  # a busy machine


class KnowledgeSourceContract(Contract):
    """Documents with lasting ids, at most as many as were asked for, and errors with a place.

    `place` is what `fetch` is asked for and `query` what `search` is; a source that only does
    one of both sets the other to None.
    """

    kind = "knowledge_source"
    place: ClassVar[str | None] = ""
    query: ClassVar[str | None] = "linear attention"
    nowhere: ClassVar[str] = "surely/no/such/place"

    def source(self, folder: Path) -> Any:
        """Return a source whose cache is in `folder`."""
        cache = folder / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        return self.create(cache=cache)

    def fetched(self, folder: Path) -> list[Document | InputError]:
        """Return what there is at `place`."""
        return [] if self.place is None else list(self.source(folder).fetch(self.place))

    def found(self, folder: Path, limit: int) -> list[Document]:
        """Return what is found for `query`."""
        return [] if self.query is None else list(self.source(folder).search(self.query, limit))

    def test_fetching_gives_documents_or_errors(self, tmp_path: Path) -> None:
        """What cannot be used is an `InputError` among the documents."""
        given = self.fetched(tmp_path)
        assert [one for one in given if not isinstance(one, Document | InputError)] == []
        for one in given:
            if isinstance(one, Document):
                check_document(one, self.name)

    def test_searching_gives_at_most_the_limit(self, tmp_path: Path) -> None:
        """A source without a live service gives ()."""
        for limit in (1, 3):
            found = self.found(tmp_path, limit)
            assert len(found) <= limit
            for one in found:
                check_document(one, self.name)

    def test_it_gives_something(self, tmp_path: Path) -> None:
        """By one way or the other."""
        fetched = [one for one in self.fetched(tmp_path) if isinstance(one, Document)]
        found = self.found(tmp_path, 3)
        assert fetched or found, f"nothing at {self.place!r}, nothing for {self.query!r}"

    def test_ids_are_unique(self, tmp_path: Path) -> None:
        """The base keeps one document of each id."""
        fetched = [one.id for one in self.fetched(tmp_path) if isinstance(one, Document)]
        for ids in (fetched, [one.id for one in self.found(tmp_path, 10)]):
            assert len(set(ids)) == len(ids)

    def test_documents_are_the_same_again(self, tmp_path: Path) -> None:
        """With another instance and another cache: what is there already is not added again."""
        folders = (tmp_path / "one", tmp_path / "two")
        answers = [
            [
                one
                for one in [*self.fetched(folder), *self.found(folder, 3)]
                if isinstance(one, Document)
            ]
            for folder in folders
        ]
        assert answers[0] == answers[1]

    def test_a_missing_place_is_reported(self, tmp_path: Path) -> None:
        """With an `InputError`, raised or yielded; nothing else, and no documents."""
        try:
            given = list(self.source(tmp_path).fetch(self.nowhere))
        except InputError as error:
            given = [error]
        assert given, "a place that is not there is an InputError, not an empty answer"
        assert [one for one in given if not isinstance(one, InputError)] == []
        assert all(str(one).strip() for one in given)


def check_document(document: Any, source: str) -> None:
    """A document says what it is, where it is from, and has an id that no other source gives."""
    assert isinstance(document, Document)
    assert document.source == source
    prefix, colon, rest = document.id.partition(":")
    assert prefix.strip(), f"the id {document.id!r} does not begin with {source!r}: it must"
    assert colon, f"the id {document.id!r} is not {source}:..."
    assert rest.strip(), f"the id {document.id!r} names nothing"
    assert document.title.strip() or document.text.strip()


class LLMBackendContract(Contract):
    """A reply with text, or an error in time."""

    kind = "llm_backend"
    repeatable: ClassVar[bool] = True
    """Whether equal requests have equal replies."""

    def ask(self, **changes: Any) -> LLMReply:
        """Return the reply to a small request."""
        fields: dict[str, Any] = {"messages": (("user", "Say yes."),), "max_tokens": 16}
        backend = self.create()
        try:
            reply: LLMReply = backend.complete(LLMRequest(**{**fields, **changes}))
        finally:
            backend.close()
            backend.close()
        return reply

    def test_a_reply_has_text_and_counts(self) -> None:
        """A count that is not known is None, never 0."""
        reply = self.ask()
        assert isinstance(reply, LLMReply)
        assert reply.text
        for count in (reply.input_tokens, reply.output_tokens):
            assert count is None or count > 0

    def test_equal_requests_have_equal_replies(self) -> None:
        """Unless `repeatable` says that they have not."""
        if self.repeatable:
            assert self.ask(seed=3) == self.ask(seed=3)

    def test_a_deadline_is_kept(self) -> None:
        """With next to no time it answers or raises, and does so soon."""
        started, outcome = time.monotonic(), "answered"
        try:
            self.ask(deadline_s=0.05)
        except Exception as error:
            outcome = str(error)
        assert outcome.strip()
        assert time.monotonic() - started < GRACE_S
