"""What a knowledge source and a back end of a language model promise."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from genesys_engine.plugins.api import LLMReply, LLMRequest, Passage
from genesys_engine.plugins.testing.contract import Contract

GRACE_S = 5.0  # a busy machine


class KnowledgeSourceContract(Contract):
    """Few passages, quickly, or an error in time."""

    kind = "knowledge_source"
    query: ClassVar[str] = "linear attention"

    def test_passages_are_few_and_tell_where_they_are_from(self) -> None:
        """At most as many as were asked for; each with text and a reference."""
        source = self.create()
        try:
            for count in (1, 3):
                found = list(source.search(self.query, count, deadline_s=30.0))
                assert len(found) <= count
                for passage in found:
                    assert isinstance(passage, Passage)
                    assert passage.text.strip()
                    assert passage.reference.strip()
            assert found, f"nothing was found for {self.query!r}; set `query`"
        finally:
            source.close()

    def test_equal_questions_have_equal_answers(self) -> None:
        """Here and in another instance."""
        answers = []
        for _ in range(2):
            source = self.create()
            answers.append(list(source.search(self.query, 3, deadline_s=30.0)))
            source.close()
        assert answers[0] == answers[1]

    def test_a_deadline_is_kept(self) -> None:
        """With next to no time it answers or raises, and does so soon."""
        source = self.create()
        started, said = time.monotonic(), "answered"
        try:
            source.search(self.query, 3, deadline_s=0.05)
        except Exception as error:
            said = str(error)
        assert said.strip()
        assert time.monotonic() - started < GRACE_S
        source.close()

    def test_it_closes_twice(self) -> None:
        """Also without a question before."""
        source = self.create()
        source.close()
        source.close()


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
        started, said = time.monotonic(), "answered"
        try:
            self.ask(deadline_s=0.05)
        except Exception as error:
            said = str(error)
        assert said.strip()
        assert time.monotonic() - started < GRACE_S
