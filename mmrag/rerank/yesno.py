"""One answer of a chat model, with or without a thought before it.

`Thinker` writes the thought and knows the model's context; `YesNoScorer` adds one token of answer and is
shared by the modes that score one candidate at a time (``pointwise`` by its picture and text, ``ecrr`` and
``qar`` by its trace).

Thought and answer are two requests. The first writes at most ``think_tokens`` and stops at the end of the
thought; one that runs over is closed after its last whole sentence. The second carries the closed thought
as the beginning of the model's own turn and requests a single token, so the answer's position is known and
no answer can be missed. Without a thought only the second is sent; a model whose template opens a thought
by itself gets an empty one. Source of the overrun rule: Rank1 (arXiv 2502.18418).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mmrag.errors import ServerError
from mmrag.rerank.context_fit import Prompt, fit_prompt
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import answer_body, count_body, text_tokens_body, thought_body
from mmrag.rerank.response import Thought, opens_thought, read_context, read_thought, read_tokens, read_yes_no
from mmrag.serving.chat import no_thought, thought_message
from mmrag.serving.client import Json
from mmrag.serving.requests import Request, Requests
from mmrag.types import Verdict

SPELLINGS = ("{}", "{title}", "{upper}", " {}", " {title}", " {upper}")
CLOSING_TOKENS = 24  # the markers around a thought, and those of the answer's turn


class Thinker:
    """Writes thoughts; knows how long a prompt may be.

    Args:
        settings: ``think_tokens`` and ``extra`` are used.

    Attributes:
        context: tokens that prompt and answer share; 0 before `prepare`.
        extra: further keys of chat requests.
    """

    def __init__(self, settings: Settings) -> None:
        self.think_tokens = settings.think_tokens
        self.extra = dict(settings.extra) if settings.think_tokens else no_thought(settings.extra)
        self.context = 0
        self._opens = False

    def prepare(self) -> Requests[None]:
        """Request the end of the model's template and the length of its context."""
        body = count_body([{"role": "user", "content": "?"}], self.extra, words=True)
        # Never from the cache: a server may be restarted with another context.
        reply = yield Request("/tokenize", body, cached=False)
        self._opens = opens_thought(reply)
        self.context = read_context(reply)

    def prompt_limit(self, answer_tokens: int) -> int:
        """Return the tokens that a prompt may have for thought and answer to fit behind it.

        Raises:
            ServerError: thought and answer alone fill the context.
        """
        limit = self.context - self.think_tokens - CLOSING_TOKENS - answer_tokens
        if limit < 1:
            raise ServerError(
                f"think_tokens must leave room for a prompt in the model's context of {self.context} tokens, "
                f"got {self.think_tokens}. Lower it, or serve the model with a larger --max-model-len."
            )
        return limit

    def think(
        self, messages: Sequence[Json], pictures: Mapping[str, str]
    ) -> Requests[tuple[Thought, list[Json]]]:
        """Return the thought, and the messages that the answer continues."""
        thought = Thought("")
        if self.think_tokens:
            body = thought_body(messages, self.think_tokens, self.extra)
            reply = yield Request("chat/completions", body, pictures=pictures)
            thought = read_thought(reply)
        if self.think_tokens or self._opens:
            return thought, [*messages, thought_message(thought.text)]
        return thought, list(messages)


class YesNoScorer(Thinker):
    """Scores prompts whose last message asks for yes or no.

    Args:
        settings: ``think_tokens``, ``sum_spellings`` and ``extra`` are used.

    Attributes:
        notes: findings of `prepare` that a reader of the scores must know.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._spellings = SPELLINGS if settings.sum_spellings else SPELLINGS[:1]
        self._yes: list[int] = []
        self._no: list[int] = []
        self.notes: tuple[str, ...] = ()

    def prepare(self) -> Requests[None]:
        """Request the ids of the answer tokens as well.

        Raises:
            ServerError: yes and no begin with the same token, so that one token cannot tell them apart.
        """
        yield from super().prepare()
        yes, yes_split = yield from self._first_tokens("yes")
        no, no_split = yield from self._first_tokens("no")
        common = set(yes) & set(no)
        self._yes, self._no = ([id for id in ids if id not in common] for ids in (yes, no))
        if not self._yes or not self._no or {yes[0], no[0]} & common:
            raise ServerError(
                "'yes' and 'no' must begin with tokens of their own, this model's begin with the same. "
                "Use mode='listwise' or mode='likelihood'."
            )
        words = [f"'{word}'" for word, split in (("no", no_split), ("yes", yes_split)) if split]
        if words:
            text = " and ".join(words)
            self.notes = (f"{text} are several tokens to this model: the first one was compared",)

    def _first_tokens(self, word: str) -> Requests[tuple[list[int], bool]]:
        """Request the first token of every spelling, and whether the plain word is several tokens."""
        ids: dict[int, None] = {}
        split = False
        for spelling in self._spellings:
            text = spelling.format(word, title=word.title(), upper=word.upper())
            tokens = read_tokens((yield Request("/tokenize", text_tokens_body(text), cached=False)))
            ids.update(dict.fromkeys(tokens[:1]))
            split = split or (len(tokens) > 1 and spelling == "{}")
        return list(ids), split

    def score(self, build: Callable[[float], Prompt]) -> Requests[Verdicts]:
        """Fit the prompt into the context, think for at most ``think_tokens``, then read one answer token.

        Args:
            build: makes the prompt with this fraction of the candidate; see `fit_prompt`.

        Returns:
            One verdict with ``sigmoid(logit_yes - logit_no)``, 0..1, and the notes of this model.
        """
        prompt, fraction = yield from fit_prompt(build, self.prompt_limit(answer_tokens=1), self.extra)
        thought, messages = yield from self.think(prompt.messages, prompt.pictures)
        body = answer_body(messages, [*self._yes, *self._no], self.extra)
        reply = yield Request("chat/completions", body, pictures=prompt.pictures)
        details, notes = [], self.notes
        if thought.cut:
            details.append(f"thought closed after {self.think_tokens} tokens")
        if fraction < 1.0:
            details.append(f"shortened to {fraction:.0%} to fit the model's {self.context} tokens")
            notes = (*notes, f"shortened to fit the model's {self.context} tokens: see the verdicts")
        score = read_yes_no(reply, self._yes, self._no)
        return Verdicts((Verdict(score, thought.text, note="; ".join(details)),), notes)
