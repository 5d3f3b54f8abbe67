"""``ecrr`` and ``qar``: score by reasoning traces instead of pictures, as a light text-only step.

TTE-v2 (arXiv 2602.23369) names both: ECRR reranks by the reasoning texts that retrieval already had
written, QAR first rewrites a candidate's reasoning for the query. Its prompts, scorer and numbers are not
public; this is our reading of it:

* ``ecrr``: the model sees the query with its trace and the candidate's text with its trace, and says yes
  or no; ``score = sigmoid(logit_yes - logit_no)``. Missing traces are written first.
* ``qar``: one generation per candidate reads its text and trace with the query in mind; that reading is put
  before them, then as ``ecrr``. ``think_tokens`` is its budget; 0 is ``ecrr``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mmrag.rerank.context_fit import Prompt, fit_prompt
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import (
    ModelInput,
    instruction_for,
    system_prompt,
    text_input,
    user_template,
    word_limit,
)
from mmrag.rerank.traces import Trace, read_trace
from mmrag.rerank.yesno import YesNoScorer
from mmrag.serving.chat import chat_messages, fill_template
from mmrag.serving.client import parse_chat
from mmrag.serving.escaping import as_data, cut_text, data_mark
from mmrag.serving.requests import Request, Requests
from mmrag.serving.wire import join_url, parse_models
from mmrag.types import Candidate, Query, Verdict

TEXT_CHARS = 2000
"""Most characters of a candidate's own text; its trace speaks for the rest."""

PROMPTS = ("ecrr_system", "ecrr_think", "ecrr_user", "think_first", "instruction")
QAR_PROMPTS = (*PROMPTS, "qar_system", "qar_user")


class EcrrMode:
    """Mode that scores a candidate by its text and its trace.

    Args:
        settings: ``traces`` is required; ``think_tokens`` lets the model think before its answer.

    Raises:
        ValueError: ``traces`` is None.
    """

    name = "ecrr"
    prompts: tuple[str, ...] = PROMPTS

    def __init__(self, settings: Settings) -> None:
        if settings.traces is None:
            raise ValueError(
                f"mode={self.name!r} reads traces and must have what writes them, got traces=None. Pass "
                "traces=TraceWriter(base_url, model, cache=index_folder / 'traces'); the same server will do."
            )
        self.settings = settings
        traces = settings.traces
        if traces.render is None and settings.render is not None:
            traces = traces.with_render(settings.render)
        self._traces = traces
        self._scorer = YesNoScorer(settings)

    @property
    def fingerprint(self) -> str:
        """Digest of the prompts and of how the traces are written, not of the traces."""
        parts = [self.settings.prompts.digest(self.prompts), self._traces.fingerprint]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    def prepare(self) -> Requests[None]:
        """Request the answer's token ids, the model's context and the name of the traces' model."""
        client = self._traces.client
        if client.known_model is None:
            reply = yield Request("models", client=client)
            client.remember_model(parse_models(reply, join_url(client.base_url, "models")))
        yield from self._scorer.prepare()

    def requests(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """Return one generator per candidate; cached traces are read now, missing ones are requested."""
        query_trace = self._traces.query_requests(query)
        return [
            self._score(
                query, query_trace, self._traces.document_requests(candidate), self._text(candidate, query)
            )
            for candidate in candidates
        ]

    def _score(
        self,
        query: Query,
        query_trace: Callable[[], Requests[Trace]],
        page_trace: Callable[[], Requests[Trace]],
        text: ModelInput,
    ) -> Requests[Sequence[Verdict]]:
        thought = yield from query_trace()
        trace = yield from page_trace()
        pair = _Pair(
            query=_join(query.text or "", thought.plain),
            instruction=instruction_for(query, self.settings),
            text=text,
            trace=trace.plain,
        )
        return (yield from self._score_pair(pair))

    def _score_pair(self, pair: _Pair) -> Requests[Verdicts]:
        return (yield from self._yes_no(pair, self.settings))

    def _yes_no(self, pair: _Pair, settings: Settings) -> Requests[Verdicts]:
        system, user = system_prompt("ecrr", settings), user_template("ecrr", settings)
        return (yield from self._scorer.score(lambda fraction: _prompt(system, user, pair, fraction)))

    def _text(self, candidate: Candidate, query: Query) -> ModelInput:
        if candidate.page is not None and not self.settings.text:
            return ModelInput("")
        return text_input(candidate, query, self.settings)


class QarMode(EcrrMode):
    """`EcrrMode` after each candidate's trace was rewritten for the query.

    Args:
        settings: ``traces`` is required; ``think_tokens`` is the most tokens of a rewriting.

    Raises:
        ValueError: ``traces`` is None.
    """

    name = "qar"
    prompts = QAR_PROMPTS

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._answer_settings = replace(settings, think_tokens=0)  # the tokens go into the reading
        self._scorer = YesNoScorer(self._answer_settings)

    def _score_pair(self, pair: _Pair) -> Requests[Verdicts]:
        tokens = self.settings.think_tokens
        if not tokens:
            return (yield from self._yes_no(pair, self._answer_settings))
        reading = yield from self._read(pair, tokens)
        verdicts = yield from self._yes_no(replace(pair, reading=reading.plain), self._answer_settings)
        (verdict,) = verdicts.verdicts
        cut = f"reading closed after {tokens} tokens" if reading.cut else ""
        note = "; ".join(part for part in (verdict.note, cut) if part)
        return replace(verdicts, verdicts=(replace(verdict, thought=reading.plain, note=note),))

    def _read(self, pair: _Pair, tokens: int) -> Requests[Trace]:
        """Request the candidate's trace rewritten for the query."""
        prompts = self.settings.prompts
        system, user = prompts.fill("qar_system", words=word_limit(tokens)), prompts.text("qar_user")
        prompt, _ = yield from fit_prompt(
            lambda fraction: _prompt(system, user, pair, fraction),
            self._scorer.prompt_limit(answer_tokens=tokens),
            self._scorer.extra,
        )
        body = {
            "messages": prompt.messages,
            **self._scorer.extra,
            "max_tokens": tokens,
            "temperature": 0.0,
        }
        reply = yield Request("chat/completions", body)
        return read_trace(parse_chat(reply), tokens)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A query and a candidate as the model sees them: query with trace; reading, text and trace."""

    query: str
    instruction: str
    text: ModelInput
    trace: str
    reading: str = ""


def _prompt(system: str, user: str, pair: _Pair, fraction: float) -> Prompt:
    """Build messages with this fraction of the candidate's text and trace; the reading stays whole."""
    text = pair.text.cut(min(TEXT_CHARS, int(fraction * len(pair.text.text))))
    trace = cut_text(pair.trace, int(fraction * len(pair.trace)))
    texts = {
        "instruction": as_data(pair.instruction),
        "query": as_data(pair.query),
        "page": as_data(_join(pair.reading, text, trace)),
        "mark": data_mark(pair.query, pair.text.text, pair.trace),
    }
    return Prompt(chat_messages(system, fill_template(user, texts, {})))


def _join(*parts: str) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip())
