"""`PromptTemplate`: an input as tokens, before the meta tokens.

One chat turn of the user, each part on a line of its own::

    <|im_start|>user
    <instruction>
    <image>                       one line per image, in order among the texts
    Query: <text>                 documents without the prefix
    <thought>
    <|im_end|><|endoftext|>       no line break before and after; the last gives the single vector

The papers: instruction, image, text (Magic-MM-Embedding); image before text, ``Query: ``, end of turn and
end of text (MetaEmbed); the trace after the content (Think-Then-Embed). The words of the instructions are
ours, and part of a checkpoint.

Decisions taken here:

* *A caller's text is never markup.* It is tokenised by a tokenizer of its own that knows no special tokens,
  so a page on which ``<|image_pad|>`` is printed gives the letters of it and no placeholder.
* *What is too long is cut by tokens at its end*: of the text and of the thought, which share the room that
  is left and have half of it each where both are longer. Marks, instruction, placeholders and meta tokens
  are never cut; where they alone are too many, the input is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from mmrag.models.inputs import Item

TURN_START = "<|im_start|>user\n"
TURN_END = "<|im_end|><|endoftext|>"
MARKS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
"""Special tokens of the template; all multimodal families write chats with them."""

_PIECE = 100_000  # characters tokenised at a time; bounds the work on a text that will be cut anyway


@dataclass(frozen=True, slots=True)
class Turn:
    """The special tokens around an input, which differ between families.

    Attributes:
        start: before it.
        end: after it.
        marks: the special tokens in both.
    """

    start: str
    end: str
    marks: tuple[str, ...]


CHAT = Turn(TURN_START, TURN_END, MARKS)
BERT = Turn("[CLS]", "[SEP]", ("[CLS]", "[SEP]"))


@dataclass(frozen=True, slots=True)
class Prompts:
    """The words around an input; saved with a checkpoint, since a model is trained with them.

    Attributes:
        query: instruction of queries without one of their own; ``""`` for no instruction.
        document: the same for documents.
        query_prefix: before a query's first text.
    """

    query: str = "Represent this question to find the pages that answer it."
    document: str = "Represent this page so that the questions it answers find it."
    query_prefix: str = "Query: "


@dataclass(frozen=True, slots=True)
class TokenizedInput:
    """An input as tokens.

    Attributes:
        ids: with all placeholders, without meta tokens.
        cut: whether text or thought was longer than the room.
    """

    ids: tuple[int, ...]
    cut: bool


@dataclass(frozen=True, slots=True)
class _Piece:
    ids: list[int]
    kind: str  # "fixed", "text" or "thought"


class PromptTemplate:
    """The template of one chat turn; safe to share between threads.

    Args:
        tokenizer: a fast tokenizer of ``transformers``; it is copied, not used.
        prompts: the words around an input.
        max_tokens: most tokens of an input, meta tokens not counted.
        placeholder: the image placeholder, to check that texts cannot give it.
        turn: special tokens around an input. Line breaks between the lines are tokenised like text; a
            BERT's tokenizer drops them.

    Raises:
        ValueError: the tokenizer lacks a mark, or a text could give one.
    """

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401  transformers'
        prompts: Prompts,
        max_tokens: int,
        placeholder: str,
        turn: Turn = CHAT,
    ) -> None:
        self.prompts = prompts
        self.max_tokens = max_tokens
        self.turn = turn
        self._marks = _copy(tokenizer)
        self._plain = _copy(tokenizer)
        self._plain.encode_special_tokens = True
        self._check_marks((*turn.marks, placeholder))

    def _check_marks(self, marks: Sequence[str]) -> None:
        """Check that the tokenizer has all marks as special tokens.

        Raises:
            ValueError: it has not.
        """
        for mark in marks:
            mark_id = self._marks.token_to_id(mark)
            if mark_id is None or mark_id in self._words(mark, 100):
                raise ValueError(
                    f"the tokenizer must know {mark} as a special token, got one that does not. "
                    "Take the tokenizer.json that the model was published with."
                )

    @property
    def vocabulary(self) -> str:
        """Return the tokenizer as JSON, for fingerprints."""
        return str(self._marks.to_str())

    def tokenize(self, item: Item, side: str, placeholders: Sequence[str]) -> TokenizedInput:
        """Return the tokens of an input.

        Args:
            item: the input.
            side: ``"query"`` or ``"document"``.
            placeholders: text of the placeholders of each image, in order.

        Raises:
            ValueError: more tokens are needed than there may be, before any text.
        """
        pieces = self._pieces(item, side, placeholders)
        fixed_length = sum(len(piece.ids) for piece in pieces if piece.kind == "fixed")
        room = self.max_tokens - fixed_length
        if room < 0:
            raise ValueError(
                f"instruction and images must fit max_tokens={self.max_tokens}, got {fixed_length} tokens of "
                "them. Give fewer images or a shorter instruction, or lower max_visual_tokens."
            )
        text, thought = (
            sum(len(piece.ids) for piece in pieces if piece.kind == kind) for kind in ("text", "thought")
        )
        left = {"thought": min(thought, max(room // 2, room - text))}
        left["text"] = min(text, room - left["thought"])
        ids: list[int] = []
        for piece in pieces:
            if piece.kind == "fixed":
                ids += piece.ids
            else:
                ids += piece.ids[: left[piece.kind]]
                left[piece.kind] -= min(len(piece.ids), left[piece.kind])
        return TokenizedInput(tuple(ids), cut=text + thought > room)

    def _pieces(self, item: Item, side: str, placeholders: Sequence[str]) -> list[_Piece]:
        """Return the lines, each after a line break, between the special tokens of the turn."""
        pieces = [self._mark(self.turn.start)]
        for number, line in enumerate(self._lines(item, side, placeholders)):
            if number:
                pieces.append(self._mark("\n"))
            pieces += line
        pieces.append(self._mark(self.turn.end))
        return pieces

    def _lines(self, item: Item, side: str, placeholders: Sequence[str]) -> Iterator[list[_Piece]]:
        """Yield a line for the instruction, for each part, and for the thought."""
        prefix = self.prompts.query_prefix if side == "query" else ""
        images = iter(placeholders)
        if item.instruction:
            yield [self._text(item.instruction, "fixed")]
        for part in item.parts:
            if not isinstance(part, str):
                yield [self._mark(next(images))]
                continue
            text = self._text(part, "text")
            yield [self._text(prefix, "fixed"), text] if prefix else [text]
            prefix = ""  # of the first text only
        if item.thought.strip():
            yield [self._text(item.thought, "thought")]

    def _text(self, text: str, kind: str) -> _Piece:
        return _Piece(self._words(text, self.max_tokens), kind)

    def _mark(self, text: str) -> _Piece:
        return _Piece(self._marks.encode(text, add_special_tokens=False).ids, "fixed")

    def _words(self, text: str, most: int) -> list[int]:
        """Tokenise a caller's text; stop soon after `most` tokens."""
        ids: list[int] = []
        for piece in _cut(text):
            ids += self._plain.encode(piece, add_special_tokens=False).ids
            if len(ids) > most:
                break
        return ids


def _copy(tokenizer: Any) -> Tokenizer:  # noqa: ANN401  transformers'
    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _cut(text: str) -> Iterator[str]:
    """Yield the text as valid Unicode in pieces, cut at white space if there is some."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # lone surrogates replaced
    start = 0
    while len(text) - start > _PIECE:
        end = start + _PIECE
        space = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
        end = space if space > start else end
        yield text[start:end]
        start = end
    yield text[start:]
