"""``ecrr`` and ``qar``: judging by traces instead of pictures, so that reranking is a light text-only step.

TTE-v2 (arXiv 2602.23369) names both: ECRR reranks by the reasoning texts that retrieval already had
written, QAR rewrites a candidate's reasoning for the query first. Its prompts, its scorer and its numbers
are not public; what is here is our reading of it:

* ``ecrr``: the judge sees the query with its trace and the candidate's text with its trace, and says yes
  or no; ``score = sigmoid(logit_yes - logit_no)``. Traces that are not kept yet are written first.
* ``qar``: one generation a candidate reads its text and trace with the query in mind; that reading is put
  before them, then as ``ecrr``. ``think_tokens`` is its budget; 0 is ``ecrr``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mmrag.rerank.context_fit import Prompt, fitted
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import instruction_of, user_template
from mmrag.rerank.traces import Trace, read_trace
from mmrag.rerank.yesno import YesNo, in_words
from mmrag.serving.chat import as_data, chat_messages, cut_text, data_mark, fill_template
from mmrag.serving.client import parse_chat
from mmrag.serving.requests import Request, Requests
from mmrag.serving.wire import join_url, parse_models
from mmrag.types import Candidate, Query, Verdict

TEXT_CHARS = 2000
"""Of a candidate's own text; its trace speaks for the rest."""

PROMPTS = ("ecrr_system", "ecrr_think", "ecrr_user", "think_first", "instruction")
QAR_PROMPTS = (*PROMPTS, "qar_system", "qar_user")


class EcrrMode:
    """Judges a candidate by its text and its trace.

    Args:
        settings: ``traces`` must be there; ``think_tokens`` lets the judge think before its answer.

    Raises:
        ValueError: no traces.
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
        self._yes_no = YesNo(settings)

    @property
    def fingerprint(self) -> str:
        """Changes with the prompts and with the way the traces are written, not with the traces."""
        parts = [self.settings.prompts.digest(self.prompts), self._traces.fingerprint]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    def prepare(self) -> Requests[None]:
        """Request for the answer's token ids and the model's context, and who writes the traces."""
        client = self._traces.client
        if client.known_model is None:
            reply = yield Request("models", client=client)
            client.remember_model(parse_models(reply, join_url(client.base_url, "models")))
        yield from self._yes_no.prepare()

    def steps(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """One generator a candidate; traces that are kept are read now, missing ones are prepared."""
        asked = self._traces.prepared_query(query)
        return [
            self._judge(query, asked, self._traces.prepared_document(candidate), self._own_text(candidate))
            for candidate in candidates
        ]

    def _judge(
        self,
        query: Query,
        asked: Callable[[], Requests[Trace]],
        described: Callable[[], Requests[Trace]],
        text: str,
    ) -> Requests[Sequence[Verdict]]:
        understood = yield from asked()
        trace = yield from described()
        case = _Case(
            query=_joined(query.text or "", understood.plain),
            instruction=instruction_of(query, self.settings),
            text=text,
            trace=trace.plain,
        )
        return (yield from self._verdict(case))

    def _verdict(self, case: _Case) -> Requests[Verdicts]:
        return (yield from self._yes_or_no(case, self.settings))

    def _yes_or_no(self, case: _Case, settings: Settings) -> Requests[Verdicts]:
        prompts, tokens, context = settings.prompts, settings.think_tokens, self._yes_no.context
        system = prompts.fill("ecrr_think", words=in_words(tokens)) if tokens else prompts.text("ecrr_system")
        prompt, share = yield from fitted(
            lambda share: _prompt(system, user_template("ecrr_user", settings), case, share),
            self._yes_no.room(answer_tokens=1),
            self._yes_no.extra,
        )
        verdict = yield from self._yes_no.judge(prompt.messages)
        said, notes = [verdict.note] if verdict.note else [], self._yes_no.notes
        if share < 1.0:
            said.append(f"shortened to {share:.0%} to fit the model's {context} tokens")
            notes = (*notes, f"shortened to fit the model's {context} tokens: see the verdicts")
        return Verdicts((replace(verdict, note="; ".join(said)),), notes)

    def _own_text(self, candidate: Candidate) -> str:
        page = candidate.page
        if page is None:
            return candidate.record.text
        return (page.text or candidate.record.text) if self.settings.text else ""


class QarMode(EcrrMode):
    """As `EcrrMode`, after each candidate's trace was read again with the query in mind.

    Args:
        settings: ``traces`` must be there; ``think_tokens`` is the most that a reading may take.

    Raises:
        ValueError: no traces.
    """

    name = "qar"
    prompts = QAR_PROMPTS

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._plain = replace(settings, think_tokens=0)  # the tokens go into the reading
        self._yes_no = YesNo(self._plain)

    def _verdict(self, case: _Case) -> Requests[Verdicts]:
        tokens = self.settings.think_tokens
        if not tokens:
            return (yield from self._yes_or_no(case, self._plain))
        reading = yield from self._reading(case, tokens)
        judged = yield from self._yes_or_no(replace(case, reading=reading.plain), self._plain)
        (verdict,) = judged.verdicts
        cut = f"reading closed after {tokens} tokens" if reading.cut else ""
        note = "; ".join(part for part in (verdict.note, cut) if part)
        return replace(judged, verdicts=(replace(verdict, thought=reading.plain, note=note),))

    def _reading(self, case: _Case, tokens: int) -> Requests[Trace]:
        """The candidate's trace, rewritten for the query."""
        prompts = self.settings.prompts
        system = prompts.fill("qar_system", words=in_words(tokens))
        prompt, _ = yield from fitted(
            lambda share: _prompt(system, prompts.text("qar_user"), case, share),
            self._yes_no.room(answer_tokens=tokens),
            self._yes_no.extra,
        )
        body = {
            "messages": prompt.messages,
            **self._yes_no.extra,
            "max_tokens": tokens,
            "temperature": 0.0,
        }
        reply = yield Request("chat/completions", body)
        return read_trace(parse_chat(reply), tokens)


@dataclass(frozen=True, slots=True)
class _Case:
    """A query and a candidate as the judge sees them: query with trace; reading, text and trace."""

    query: str
    instruction: str
    text: str
    trace: str
    reading: str = ""


def _prompt(system: str, user: str, case: _Case, share: float) -> Prompt:
    """Messages that show this share of the candidate's text and trace; the reading stays whole."""
    text = cut_text(case.text, min(TEXT_CHARS, int(share * len(case.text))))
    trace = cut_text(case.trace, int(share * len(case.trace)))
    texts = {
        "instruction": as_data(case.instruction),
        "query": as_data(case.query),
        "page": as_data(_joined(case.reading, text, trace)),
        "mark": data_mark(case.query, case.text, case.trace),
    }
    return Prompt(chat_messages(system, fill_template(user, texts, {})))


def _joined(*parts: str) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip())
