"""`Chat`: questions one after another, each of which may lean on those before it."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from mmrag.conversation.history import MOST_MESSAGES, Message, checked_messages, load_history, save_history
from mmrag.conversation.rewriting import Rewriter, ServedRewriter, StandaloneQuestion, WordKeeper
from mmrag.forks import new_lock
from mmrag.tracing.spans import Span, apieces, pieces, span
from mmrag.types import Answer, Query


class AnswersQuestions(Protocol):
    """What a chat asks: a `mmrag.DocumentQA`, or anything with its four ways to ask."""

    @property
    def ask(self) -> Callable[..., Answer]:
        """Return the blocking way."""
        ...

    @property
    def aask(self) -> Callable[..., Awaitable[Answer]]:
        """Return the awaited way."""
        ...

    @property
    def stream(self) -> Callable[..., Iterator[str | Answer]]:
        """Return the way that gives pieces."""
        ...

    @property
    def astream(self) -> Callable[..., AsyncIterator[str | Answer]]:
        """Return the awaited way that gives pieces."""
        ...


class Chat:
    """A conversation with documents.

    `messages` is a plain list of ``{"role", "content"}``, which can be shown, stored and passed again. A
    question that was rewritten has what was searched under ``standalone``, as its answer has
    (`mmrag.types.Answer.standalone`). A question that fails leaves the messages as they were.

    Args:
        qa: answers the questions.
        history: messages so far.
        rewriter: makes a follow-up question stand alone: an object, the URL of a server, or None to keep
            words of the question before (`mmrag.conversation.rewriting.WordKeeper`).
        options: of every `mmrag.DocumentQA.ask`; those of one question go before them.

    Raises:
        ValueError: a message has no role or no text.
        TypeError: the history is no list, or the rewriter none.

    Example:
        >>> chat = qa.chat()  # doctest: +SKIP
        >>> chat.ask("How much did Harborlight spend on research in 2023?").text  # doctest: +SKIP
        '84.5 [1]'
        >>> chat.ask("And in 2022?").text  # doctest: +SKIP
        '71.9 [1]'
    """

    def __init__(
        self,
        qa: AnswersQuestions,
        history: Iterable[Mapping[str, Any]] = (),
        *,
        rewriter: Rewriter | str | None = None,
        **options: Any,  # noqa: ANN401  of `mmrag.DocumentQA.ask`
    ) -> None:
        self.messages = checked_messages(history)
        self.rewriter = as_rewriter(rewriter)
        self._qa = qa
        self._options = options
        self._lock = new_lock()

    @classmethod
    def load(
        cls,
        qa: AnswersQuestions,
        path: str | Path,
        **options: Any,  # noqa: ANN401  of the class
    ) -> Chat:
        """Continue the conversation in a file; a new one if the file is not there."""
        return cls(qa, load_history(path), **options)

    def save(self, path: str | Path) -> None:
        """Write the messages, whole or not at all: a JSON list to ``*.json``, else JSON Lines."""
        save_history(self.messages, path)

    def ask(self, question: str, **options: Any) -> Answer:  # noqa: ANN401
        """Answer a question that may lean on those before; options as of `mmrag.DocumentQA.ask`.

        Raises:
            ServerError: the rewriter's server failed; else as `mmrag.DocumentQA.ask`.
        """
        with span("mmrag.turn", "CHAIN") as trace:
            history = self._start(question, trace)
            standalone = self.rewriter.rewrite(question, history) if history else StandaloneQuestion(question)
            answer = self._qa.ask(standalone.text, **self._options | options)
            return self._end(question, standalone, answer, trace)

    async def aask(self, question: str, **options: Any) -> Answer:  # noqa: ANN401
        """Run `ask` without blocking the event loop."""
        with span("mmrag.turn", "CHAIN") as trace:
            history = self._start(question, trace)
            standalone = (
                await self.rewriter.arewrite(question, history) if history else StandaloneQuestion(question)
            )
            answer = await self._qa.aask(standalone.text, **self._options | options)
            return self._end(question, standalone, answer, trace)

    def stream(self, question: str, **options: Any) -> Iterator[str | Answer]:  # noqa: ANN401
        """Answer in pieces: the text as it comes, the finished `Answer` last. See `ask`."""
        yield from pieces("mmrag.turn", "CHAIN", partial(self._pieces, question, options))

    async def astream(self, question: str, **options: Any) -> AsyncGenerator[str | Answer, None]:  # noqa: ANN401
        """Run `stream` without blocking the event loop."""
        async with aclosing(
            apieces("mmrag.turn", "CHAIN", partial(self._apieces, question, options))
        ) as items:
            async for item in items:
                yield item

    def _pieces(self, question: str, options: Mapping[str, Any], trace: Span) -> Iterator[str | Answer]:
        history = self._start(question, trace)
        standalone = self.rewriter.rewrite(question, history) if history else StandaloneQuestion(question)
        for piece in self._qa.stream(standalone.text, **{**self._options, **options}):
            yield self._end(question, standalone, piece, trace) if isinstance(piece, Answer) else piece

    async def _apieces(
        self, question: str, options: Mapping[str, Any], trace: Span
    ) -> AsyncIterator[str | Answer]:
        history = self._start(question, trace)
        standalone = (
            await self.rewriter.arewrite(question, history) if history else StandaloneQuestion(question)
        )
        async for piece in self._qa.astream(standalone.text, **{**self._options, **options}):
            yield self._end(question, standalone, piece, trace) if isinstance(piece, Answer) else piece

    def _start(self, question: str, trace: Span) -> Sequence[Message]:
        """Return the messages before a question.

        Raises:
            TypeError: the question is no text.
            ValueError: it has no words.
        """
        if not isinstance(question, str):
            raise TypeError(f"a question of a chat must be str, got {type(question).__name__}.")
        trace.question(Query(question))
        with self._lock:
            return list(self.messages)

    def _end(self, question: str, standalone: StandaloneQuestion, answer: Answer, trace: Span) -> Answer:
        """Note question and answer, and return the answer with what was searched."""
        message: Message = {"role": "user", "content": question}
        if standalone.text != question:
            message["standalone"] = standalone.text
            note = "; ".join(filter(None, (answer.note, standalone.note)))
            answer = replace(answer, standalone=standalone.text, note=note)
        with self._lock:
            self.messages += [message, {"role": "assistant", "content": answer.text}]
            del self.messages[:-MOST_MESSAGES]
        return trace.answer(answer)


def as_rewriter(rewriter: Rewriter | str | None) -> Rewriter:
    """Return a rewriter as a caller may name it.

    Raises:
        TypeError: an object without ``rewrite``.
    """
    if rewriter is None:
        return WordKeeper()
    if isinstance(rewriter, str):
        return ServedRewriter(rewriter)
    if not isinstance(rewriter, Rewriter):
        raise TypeError(f"a rewriter must have rewrite and arewrite, got {type(rewriter).__name__}.")
    return rewriter
