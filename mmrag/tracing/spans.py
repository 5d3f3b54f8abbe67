"""`span`: one step of the work, as a span of OpenTelemetry under the caller's current one.

    with span("mmrag.search", "CHAIN") as trace:
        trace.question(query)
        ...

Decisions taken here:

* *Nothing is imported.* A process that collects traces has imported ``opentelemetry.trace`` and set a
  provider. Where it has not, `span` returns `NO_SPAN` after one look into ``sys.modules``.
* *The current span is a context variable*, so threads that get a copy of the context and tasks nest right.
  Between two pieces of a stream it is the consumer's own: `pieces` makes ours current for each step alone.
* *A request to a server is a leaf* (`llm_span`): it is never current, since a generator of actions may be
  resumed anywhere.
* *No key stands on a span*: every text goes through `mmrag.masking`.
* Errors are recorded with their traceback, and by their type alone where content is hidden: messages quote
  questions and pages. A step that is abandoned or cancelled ends without a status.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

from mmrag.masking import mask_secrets
from mmrag.tracing import attributes as names
from mmrag.tracing.attributes import Content
from mmrag.types import Answer, Candidate, Query, Ranking

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as RawSpan
    from opentelemetry.trace import Tracer
    from typing_extensions import Self

Kind: TypeAlias = Literal["CHAIN", "RETRIEVER", "EMBEDDING", "RERANKER", "LLM"]
T = TypeVar("T")

CHAT_PATH = "chat/completions"
SESSION_KEYS = ("session.id", "user.id")
"""Values of the caller's context that go on every span, as OpenInference's ``using_session`` puts them."""


def span(name: str, kind: Kind, *, is_leaf: bool = False) -> Span:
    """Start a span; use it in a ``with`` statement, which ends it.

    Args:
        name: ``mmrag.`` and the step.
        kind: one of OpenInference's.
        is_leaf: whether nothing nests under it, so that it never becomes the current span.
    """
    tracer = _tracer()
    if tracer is None:
        return NO_SPAN
    return Span(tracer.start_span(name, attributes={names.KIND: kind, **_session()}), is_leaf=is_leaf)


def llm_span(path: str, body: Mapping[str, Any] | None) -> Span:
    """Start the span of a request to a chat server; `NO_SPAN` for another path."""
    if path != CHAT_PATH or body is None:
        return NO_SPAN
    leaf = span("mmrag.chat", "LLM", is_leaf=True)
    leaf.request(body)
    return leaf


def pieces(name: str, kind: Kind, make: Callable[[Span], Iterator[T]]) -> Generator[T, None, None]:
    """Yield what `make` yields; the span is current while it works, and not while the consumer does."""
    trace = span(name, kind)
    with closing(cast("Generator[T, None, None]", make(trace))) as items:
        if trace is NO_SPAN:
            yield from items
            return
        with trace.until_end():
            end = object()
            while True:
                with trace.active():
                    item = next(items, end)
                if item is end:
                    return
                yield cast("T", item)


async def apieces(name: str, kind: Kind, make: Callable[[Span], AsyncIterator[T]]) -> AsyncGenerator[T, None]:
    """Yield as `pieces` does, without blocking the event loop."""
    trace = span(name, kind)
    async with aclosing(cast("AsyncGenerator[T, None]", make(trace))) as items:
        with trace.until_end():
            while True:
                with trace.active():
                    try:
                        item = await anext(items)
                    except StopAsyncIteration:
                        return
                yield item


class Span:
    """A span, or none: then every method returns at once.

    Args:
        raw: OpenTelemetry's; None for `NO_SPAN`.
        is_leaf: whether it stays out of the context.
    """

    __slots__ = ("_content", "_raw", "_reply", "_tokens", "is_leaf")

    def __init__(self, raw: RawSpan | None, *, is_leaf: bool = False) -> None:
        self._raw = raw
        self.is_leaf = is_leaf
        self._tokens: list[Any] = []
        self._reply: list[str] = []
        self._content = Content() if raw is None else Content.of_environment()

    # ---- its time ----

    def __enter__(self) -> Self:
        if self._raw is not None and not self.is_leaf:
            self._tokens.append(_attach(self._raw))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._raw is None:
            return
        if self._tokens:
            _detach(self._tokens.pop())
        self._end(error)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make it the current span for a part of its time."""
        token = None if self._raw is None else _attach(self._raw)
        try:
            yield
        finally:
            if token is not None:
                _detach(token)

    @contextmanager
    def until_end(self) -> Iterator[None]:
        """End it after the block, without making it the current span."""
        try:
            yield
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        if self._raw is None:
            return
        from opentelemetry.trace import Status, StatusCode

        if error is None:
            self._raw.set_status(Status(StatusCode.OK))
        elif isinstance(error, Exception) and self._raw.is_recording():
            kind = type(error).__qualname__
            event = {"exception.type": kind}
            if self._content.is_whole:
                lines = traceback.format_exception(type(error), error, error.__traceback__)
                event["exception.message"] = mask_secrets(str(error))
                event["exception.stacktrace"] = mask_secrets("".join(lines))
            self._raw.add_event("exception", event)
            words = f"{kind}: {event['exception.message']}" if self._content.is_whole else kind
            self._raw.set_status(Status(StatusCode.ERROR, words))
        self._raw.end()

    # ---- what stands on it ----

    @property
    def is_recording(self) -> bool:
        """Whether anybody reads what is set."""
        return self._raw is not None and self._raw.is_recording()

    def facts(self, **facts: object) -> None:
        """Set numbers and names that are no content, as JSON under ``metadata``."""
        if self.is_recording:
            self._set({names.METADATA: names.as_json(facts)})

    def question(self, query: Query) -> None:
        """Set the input: the question's words."""
        if self.is_recording:
            text = query.text if query.text is not None else "(an image)"
            self._set({names.INPUT: self._in(text), names.INPUT_TYPE: "text/plain"})

    def answer(self, answer: Answer) -> Answer:
        """Set the output and return it: the answer's text."""
        if self.is_recording:
            self._set({names.OUTPUT: self._out(answer.text), names.OUTPUT_TYPE: "text/plain"})
            self.facts(
                abstained=answer.abstained,
                citations=[citation.record_id for citation in answer.citations],
                note=answer.note if self._content.is_whole else "",
                seconds={stage: round(seconds, 4) for stage, seconds in answer.usage.seconds.items()},
            )
        return answer

    def ranking(self, ranking: Ranking) -> Ranking:
        """Set the output and return it: ids and scores."""
        if self.is_recording:
            self._set({names.OUTPUT: names.ranking_value(ranking), names.OUTPUT_TYPE: names.JSON_TYPE})
        return ranking

    def documents(self, ranking: Ranking, **facts: object) -> Ranking:
        """Set the documents found and return them."""
        if self.is_recording:
            has_text, room = self._content.outputs, self._content.room
            self._documents(names.RETRIEVAL_DOCUMENTS, ranking.candidates, has_text, room, facts)
        return ranking

    def candidates(self, ranking: Ranking, model: str, top_k: int | None) -> None:
        """Set what a reranker is given."""
        if self.is_recording:
            self.question(ranking.query)
            self._set({names.RERANKER_QUERY: self._in(ranking.query.text or "")})
            self._set({names.RERANKER_MODEL: model, names.RERANKER_TOP_K: top_k or len(ranking)})
            has_text, room = self._content.inputs, self._content.room // 2
            self._documents(names.RERANKER_INPUT, ranking.candidates, has_text, room, {})

    def reranking(self, ranking: Ranking) -> Ranking:
        """Set what a reranker gave back, and return it."""
        if self.is_recording:
            facts: dict[str, object] = {"reranked": ranking.reranked}
            if ranking.why_not and self._content.is_whole:
                facts["why_not"] = ranking.why_not
            has_text, room = self._content.outputs, self._content.room // 2
            self._documents(names.RERANKER_OUTPUT, ranking.candidates, has_text, room, facts)
        return ranking

    def embedding(self, model: str, texts: Sequence[str], count: int | None = None) -> None:
        """Set model and inputs of an embedder; vectors are not written."""
        if self.is_recording:
            self._set({names.EMBEDDING_MODEL: model})
            for position, text in enumerate(texts[: self._content.room]):
                self._set({f"{names.EMBEDDINGS}.{position}.{names.EMBEDDING_TEXT}": self._in(text)})
            self.facts(inputs=len(texts) if count is None else count)

    def request(self, body: Mapping[str, Any]) -> None:
        """Set a chat request."""
        if self.is_recording:
            self._set(names.request_attributes(body, self._content))

    def reply(self, reply: Mapping[str, Any]) -> None:
        """Set a whole chat reply, as the server gave it."""
        if self.is_recording:
            choice = _first(reply.get("choices"))
            message = choice.get("message")
            text = message.get("content") if isinstance(message, Mapping) else ""
            self._set_reply(reply, str(text or ""), choice)

    def event(self, event: Mapping[str, Any]) -> None:
        """Add an event of a streamed reply; the last ones carry the counts."""
        if self.is_recording:
            choice = _first(event.get("choices"))
            delta = choice.get("delta")
            self._reply.append(str((delta.get("content") if isinstance(delta, Mapping) else "") or ""))
            if choice.get("finish_reason") or event.get("usage"):
                self._set_reply(event, "".join(self._reply), choice)

    def _set_reply(self, reply: Mapping[str, Any], text: str, choice: Mapping[str, Any]) -> None:
        tokens = reply.get("usage")
        counts = tokens if isinstance(tokens, Mapping) else {}
        reason = choice.get("finish_reason")
        finish = reason if isinstance(reason, str) else None
        self._set(names.reply_attributes(reply.get("model"), text, counts, self._content, finish))

    def _documents(
        self,
        prefix: str,
        candidates: Sequence[Candidate],
        has_text: bool,
        room: int,
        facts: dict[str, object],
    ) -> None:
        """Set candidates as far as there is room, and say how many were left out."""
        attributes = names.document_attributes(prefix, candidates, has_text=has_text, room=room)
        self._set(attributes)
        left_out = len(candidates) - sum(name.endswith(names.DOCUMENT_ID) for name in attributes)
        if facts or left_out:
            self.facts(**facts, **({"left_out": left_out} if left_out else {}))

    def _in(self, text: str) -> str:
        return text if self._content.inputs else names.HIDDEN_TEXT

    def _out(self, text: str) -> str:
        return text if self._content.outputs else names.HIDDEN_TEXT

    def _set(self, attributes: Mapping[str, Any]) -> None:
        assert self._raw is not None  # the caller has looked
        self._raw.set_attributes(
            {
                name: mask_secrets(value) if isinstance(value, str) else value
                for name, value in attributes.items()
            }
        )


NO_SPAN = Span(None)
"""Stands for a span where nobody collects any."""


def _tracer() -> Tracer | None:
    """Return the tracer of the process's provider; None if it has set none, or wants no spans here."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import context, trace

    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider) or context.get_value("suppress_instrumentation"):
        return None
    return provider.get_tracer("mmrag", getattr(sys.modules.get("mmrag"), "__version__", None))


def _session() -> dict[str, str]:
    from opentelemetry import context

    values = {key: context.get_value(key) for key in SESSION_KEYS}
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _attach(raw: RawSpan) -> Any:  # noqa: ANN401  OpenTelemetry's token
    from opentelemetry import context, trace

    inside: Context = trace.set_span_in_context(raw)
    return context.attach(inside)


def _detach(token: Any) -> None:  # noqa: ANN401
    from opentelemetry import context

    context.detach(token)


def _first(choices: object) -> Mapping[str, Any]:
    """Return the first choice of a reply; replies of servers may be anything."""
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, Mapping) else {}
