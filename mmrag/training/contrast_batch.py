"""Batches of the contrastive stages: examples with their pictures opened and their tokens laid out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mmrag.embedders.base import Content
from mmrag.errors import MMRagError
from mmrag.models.batch import TokenRow
from mmrag.models.encoder import Encoder
from mmrag.models.inputs import document_item, query_item
from mmrag.models.prompt import Prompts
from mmrag.training.data import Example, Pictures, Side
from mmrag.training.stage import Draw
from mmrag.types import Query


@dataclass(frozen=True, slots=True)
class ContrastBatch:
    """A batch of one process, ready for the model: Q queries, Q positives, N negatives.

    Attributes:
        names: Q names of the queries, for messages.
        queries: Q rows.
        positives: Q rows, in the order of `queries`.
        negatives: N rows, of all queries together.
        owners: N positions in `queries`: the query that a negative was mined for.
        keys: Q keys of the positives' contents.
        relevant: Q sets of the keys of all documents known to answer the query.
        judge_scores: for each query, scores of its positive and of its negatives, in order.
    """

    names: tuple[str, ...]
    queries: tuple[TokenRow, ...]
    positives: tuple[TokenRow, ...]
    negatives: tuple[TokenRow, ...]
    owners: tuple[int, ...]
    keys: tuple[str, ...]
    relevant: tuple[frozenset[str], ...]
    judge_scores: tuple[tuple[float | None, ...], ...]


class ContrastCollator:
    """Makes a `ContrastBatch` of examples: opens and resizes pictures, lays out tokens.

    Args:
        encoder: of the model that is trained; only prepares inputs.
        pictures: opens what sides show.
        prompts: words around an input.
        negatives: negatives to use per example, hardest first.
        page_text: give the model a page's words along with its picture.
        threads: number of pictures prepared at the same time.
    """

    def __init__(
        self,
        encoder: Encoder,
        pictures: Pictures,
        prompts: Prompts,
        *,
        negatives: int,
        page_text: bool = False,
        threads: int = 1,
    ) -> None:
        self._encoder = encoder
        self._pictures = pictures
        self._prompts = prompts
        self._negatives = negatives
        self._page_text = page_text
        self._pool = ThreadPoolExecutor(max(threads, 1), thread_name_prefix="mmrag-examples")

    def __call__(self, draws: Sequence[Draw]) -> dict[str, ContrastBatch]:
        """Return ``{"batch": ContrastBatch}``; nothing depends on the numbers of the draws.

        Raises:
            ValueError: a side cannot be prepared; the message names the query.
        """
        examples: list[Example] = [draw.example for draw in draws]
        count = len(examples)
        hard = [example.negatives[: self._negatives] for example in examples]
        sides = [(example, example.query, "query") for example in examples]
        sides += [(example, example.positive, "document") for example in examples]
        sides += [
            (example, side, "document")
            for example, negatives in zip(examples, hard, strict=True)
            for side in negatives
        ]
        rows = list(self._pool.map(lambda arguments: self.row(*arguments), sides))
        batch = ContrastBatch(
            names=tuple(example.name for example in examples),
            queries=tuple(rows[:count]),
            positives=tuple(rows[count : 2 * count]),
            negatives=tuple(rows[2 * count :]),
            owners=tuple(owner for owner, negatives in enumerate(hard) for _ in negatives),
            keys=tuple(example.positive.key for example in examples),
            relevant=tuple(example.relevant for example in examples),
            judge_scores=tuple(
                example.judge_scores[: 1 + len(negatives)]
                for example, negatives in zip(examples, hard, strict=True)
            ),
        )
        return {"batch": batch}

    def row(self, example: Example, side: Side, role: str) -> TokenRow:
        """Return tokens and pixels of one side.

        Args:
            example: named in errors.
            side: one of its sides.
            role: ``"query"`` or ``"document"``.

        Raises:
            ValueError: the side cannot be prepared.
        """
        prompts = self._prompts
        try:
            picture = self._pictures.open(side)
            if role == "query":
                item = query_item(Query(side.text or None, picture), 0, prompts.query)
            else:
                words = side.text if picture is None or self._page_text else ""
                item = document_item(Content(words, picture), 0, prompts.document, self._page_text)
            return self._encoder.prepare(item, role).row
        except (MMRagError, ValueError, OSError) as error:
            raise ValueError(f"the {role} of {example.name!r} cannot be used: {error}") from error
