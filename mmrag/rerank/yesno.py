"""Asking a chat model, with or without a thought before the answer.

`Thinker` writes the thought and knows the model's context; `YesNo` adds one token of answer and is shared
by every mode that judges one candidate at a time (``pointwise`` by its picture and text, ``ecrr`` and
``qar`` by its trace).

Thought and answer are two requests. The first writes at most ``think_tokens`` and stops at the end of the
thought; one that runs over is closed after its last whole sentence. The second carries the closed thought
as the beginning of the model's own turn and asks for a single token, so its place is known and no answer
can be missed. Without a thought there is only the second; a model whose template opens a thought by itself
gets an empty one. Source of the overrun rule: Rank1 (arXiv 2502.18418).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmrag.errors import ServerError
from mmrag.rerank.protocol import Settings
from mmrag.rerank.request import answer_body, count_body, text_tokens_body, thought_body
from mmrag.rerank.response import Thought, opens_thought, read_context, read_thought, read_tokens, read_yes_no
from mmrag.serving.chat import no_thought, thought_message
from mmrag.serving.client import Json
from mmrag.serving.requests import Request, Requests
from mmrag.types import Verdict

SPELLINGS = ("{}", "{title}", "{upper}", " {}", " {title}", " {upper}")
CLOSING_TOKENS = 24  # the markers around a thought, and the answer's own turn


class Thinker:
    """Writes thoughts; knows how long a prompt may be.

    Args:
        settings: ``think_tokens`` and ``extra`` are looked at.

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
        """Ask the server what its template ends in, and for the length of its context."""
        body = count_body([{"role": "user", "content": "?"}], self.extra, words=True)
        reply = yield Request(
            "/tokenize", body, cached=False
        )  # a server may be started anew with another context
        self._opens = opens_thought(reply)
        self.context = read_context(reply)

    def room(self, answer_tokens: int) -> int:
        """Tokens that a prompt may have, so that thought and answer still fit.

        Raises:
            ServerError: none.
        """
        room = self.context - self.think_tokens - CLOSING_TOKENS - answer_tokens
        if room < 1:
            raise ServerError(
                f"think_tokens must leave room for a prompt in the model's context of {self.context} tokens, "
                f"got {self.think_tokens}. Lower it, or serve the model with a larger --max-model-len."
            )
        return room

    def think(
        self, messages: Sequence[Json], pictures: Mapping[str, str]
    ) -> Requests[tuple[Thought, list[Json]]]:
        """The thought, and the messages that the answer follows."""
        thought = Thought("")
        if self.think_tokens:
            body = thought_body(messages, self.think_tokens, self.extra)
            reply = yield Request("chat/completions", body, pictures=pictures)
            thought = read_thought(reply)
        if self.think_tokens or self._opens:
            return thought, [*messages, thought_message(thought.text)]
        return thought, list(messages)


class YesNo(Thinker):
    """Judges messages whose last one asks for yes or no.

    Args:
        settings: ``think_tokens``, ``sum_spellings`` and ``extra`` are looked at.

    Attributes:
        notes: what `prepare` found that a reader of the scores must know.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._spellings = SPELLINGS if settings.sum_spellings else SPELLINGS[:1]
        self._yes: list[int] = []
        self._no: list[int] = []
        self.notes: tuple[str, ...] = ()

    def prepare(self) -> Requests[None]:
        """Ask the server for the ids of its answer tokens too.

        Raises:
            ServerError: yes and no begin with the same token, so that one token cannot tell them apart.
        """
        yield from super().prepare()
        split: set[str] = set()
        ids: dict[str, list[int]] = {"yes": [], "no": []}
        for word, found in ids.items():
            for spelling in self._spellings:
                text = spelling.format(word, title=word.title(), upper=word.upper())
                tokens = read_tokens((yield Request("/tokenize", text_tokens_body(text), cached=False)))
                found += tokens[:1]
                if len(tokens) > 1 and spelling == "{}":
                    split.add(word)
        both = set(ids["yes"]) & set(ids["no"])
        yes, no = ([i for i in dict.fromkeys(ids[word]) if i not in both] for word in ("yes", "no"))
        if not yes or not no or {ids["yes"][0], ids["no"][0]} & both:
            raise ServerError(
                "'yes' and 'no' must begin with tokens of their own, this model's begin with the same. "
                "Use mode='listwise' or mode='likelihood'."
            )
        self._yes, self._no = yes, no
        if split:
            words = " and ".join(f"'{word}'" for word in sorted(split))
            self.notes = (f"{words} are several tokens to this model: the first one was compared",)

    def judge(self, messages: Sequence[Json], pictures: Mapping[str, str] | None = None) -> Requests[Verdict]:
        """Think for at most ``think_tokens``, then read one answer token.

        Args:
            messages: system and user; content as text or as parts.
            pictures: data URL by uuid for the parts that `mmrag.serving.chat.picture_part` made.

        Returns:
            A verdict whose score is ``sigmoid(logit_yes - logit_no)``, 0 to 1.
        """
        pictures = pictures or {}
        thought, whole = yield from self.think(messages, pictures)
        ids = [*self._yes, *self._no]
        reply = yield Request("chat/completions", answer_body(whole, ids, self.extra), pictures=pictures)
        note = f"thought closed after {self.think_tokens} tokens" if thought.cut else ""
        return Verdict(read_yes_no(reply, self._yes, self._no), thought.text, note=note)


def in_words(tokens: int) -> str:
    """Tokens as a number of words to ask for: three quarters, so that a thought ends in time."""
    return str(max(1, tokens * 3 // 4))
