"""A call on an embedder: inputs in any mix, thoughts, threads for images, bad inputs, results in order.

What is the same for every design. What differs is in an `InputEncoder`: how one input is prepared, and how
prepared inputs become matrices. Imports no torch.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from mmrag.embedders.base import DocumentInput, EmbedderBase, QueryInput, Reasoner, check_batch
from mmrag.errors import BadInputError
from mmrag.machine import worker_threads
from mmrag.models.inputs import PAGE_TEXT, Item, document_item, query_item
from mmrag.types import Budget, Matrix

logger = logging.getLogger(__name__)

BATCH_SIZE = 32
ON_ERROR = ("raise", "skip")
PICTURES = 16
"""Inputs whose pixels are in memory together, twice: about 30 MB each at the paper's size."""


class Prepared(Protocol):
    """An input on its way into a batch."""

    @property
    def cut(self) -> bool:
        """Whether its text was too long."""
        ...


class InputEncoder(Protocol):
    """What turns items into matrices."""

    def prepare(self, item: Item, side: str) -> Any:  # noqa: ANN401  a `Prepared` of its own
        """Decode, resize and lay out one input; may run in any thread. Raises ValueError."""
        ...

    def encode(
        self, prepared: Sequence[Any], side: str, rows: int, batch_size: int
    ) -> Iterator[tuple[int, Matrix]]:
        """``(position, matrix)`` as they come."""
        ...


class Encoded(list[Any]):
    """The matrices of a call, in input order, and what has to be said of single inputs.

    With ``on_error="skip"`` the place of an input that was left out holds None.

    Attributes:
        skipped: place of each input left out, and why.
        cut: places of inputs whose text was longer than ``max_tokens`` and was cut.
    """

    def __init__(self, matrices: Sequence[Matrix | None] = ()) -> None:
        super().__init__(matrices)
        self.skipped: dict[int, str] = {}
        self.cut: list[int] = []


class EncodingCalls(EmbedderBase):
    """The calls of an embedder over an `InputEncoder`; a subclass sets ``_encoder``.

    Args:
        max_tokens: most tokens of an input without meta tokens; longer text is cut at its end.
        batch_size: most inputs of a forward pass.
        page_text: whether the text of a rendered page is embedded with its picture.
        thoughts: writes the thoughts of inputs that bring none; None: no thoughts but given ones.
        on_error: ``"raise"``, or ``"skip"`` to leave out inputs that cannot be embedded.

    Raises:
        ValueError: an argument is out of its range.
    """

    _encoder: InputEncoder

    def __init__(
        self,
        *,
        max_tokens: int,
        batch_size: int,
        page_text: bool | str,
        thoughts: Reasoner | None,
        on_error: str,
    ) -> None:
        self.max_tokens = whole("max_tokens", max_tokens)
        self.batch_size = whole("batch_size", batch_size)
        self.page_text = one_of("page_text", page_text, PAGE_TEXT)
        self.thoughts = thoughts
        self.on_error = one_of("on_error", on_error, ON_ERROR)

    def __repr__(self) -> str:
        rows = f"({self.budget.query}, {self.budget.document})"
        return f"{type(self).__name__}({self.name!r}, budget={rows}, dim={self.dim})"

    @property
    @abstractmethod
    def name(self) -> str:
        """What people call it."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of a vector."""

    @property
    @abstractmethod
    def budget(self) -> Budget:
        """Rows it gives on each side."""

    @abstractmethod
    def _instruction(self, side: str) -> str:
        """What an input that brings no instruction is given."""

    def encode_query(
        self,
        queries: Sequence[QueryInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
        on_error: str | None = None,
    ) -> Encoded:
        """One ``(budget.query, dim)`` float32 matrix a query, rows L2-normalised, in input order.

        Args:
            queries: `str` or `Query`.
            batch_size: most inputs of a forward pass; no more than the embedder's own.
            show_progress: draw a bar.
            on_error: instead of the embedder's own.

        Raises:
            BadInputError: a query cannot be embedded.
            TypeError: an input is neither `str` nor `Query`.
        """
        return self._encode(queries, "query", batch_size, show_progress, on_error)

    def encode_document(
        self,
        documents: Sequence[DocumentInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
        on_error: str | None = None,
    ) -> Encoded:
        """One ``(budget.document, dim)`` float32 matrix a document, rows L2-normalised, in input order.

        Args:
            documents: `str`, `Page` or `Content`; one without anything in it has a vector, too.
            batch_size: see `encode_query`.
            show_progress: see `encode_query`.
            on_error: see `encode_query`.

        Raises:
            BadInputError: a document cannot be embedded.
            TypeError: an input is neither `str`, `Page` nor `Content`.
        """
        return self._encode(documents, "document", batch_size, show_progress, on_error)

    def _encode(
        self,
        given: Sequence[Any],
        side: str,
        batch_size: int | None,
        show_progress: bool,
        on_error: str | None,
    ) -> Encoded:
        what = "queries" if side == "query" else "documents"
        check_batch(given, batch_size, what)
        size = self.batch_size if batch_size is None else batch_size
        rule = one_of("on_error", self.on_error if on_error is None else on_error, ON_ERROR)
        done = Encoded([None] * len(given))
        rows = self.budget.query if side == "query" else self.budget.document
        items = self._items(given, side, rule, done)
        with tqdm(total=len(given), desc=f"encoding {what}", unit="input", disable=not show_progress) as bar:
            bar.update(len(done.skipped))
            for window in self._windows(items, side):
                ready = _sorted_out(window, rule, done)
                places = list(ready)
                for place, matrix in self._encoder.encode(list(ready.values()), side, rows, size):
                    _keep(matrix, side, places[place], rule, done)
                    bar.update()
                bar.update(len(window) - len(ready))
        if done.cut:
            logger.warning(
                "%d of %d %s were longer than max_tokens=%d and their text was cut, the first at %d",
                len(done.cut), len(given), what, self.max_tokens, done.cut[0],
            )  # fmt: skip
        return done

    def _items(self, given: Sequence[Any], side: str, rule: str, done: Encoded) -> dict[int, Item]:
        """Every input as an item, thoughts included; what is none is left out or refused."""
        items: dict[int, Item] = {}
        for place, one in enumerate(given):
            try:
                if side == "query":
                    items[place] = query_item(one, place, self._instruction("query"))
                else:
                    items[place] = document_item(one, place, self._instruction("document"), self.page_text)
            except (TypeError, BadInputError) as error:
                if rule == "raise":
                    raise
                done.skipped[place] = getattr(error, "reason", str(error))
        if self.thoughts is not None:
            wanting = [place for place, item in items.items() if not item.thought]
            inputs = [given[place] for place in wanting]
            think = self.thoughts.think_queries if side == "query" else self.thoughts.think_documents
            for place, thought in zip(wanting, think(inputs) if inputs else (), strict=True):
                items[place] = replace(items[place], thought=thought)
        return items

    def _windows(self, items: Mapping[int, Item], side: str) -> Iterator[dict[int, Prepared | BadInputError]]:
        """Inputs as tokens and pixels: all texts at once, images `PICTURES` at a time and one window ahead.

        Images are decoded and resized in threads, while the model works on the window before.
        """

        def prepare(place: int) -> Prepared | BadInputError:
            try:
                prepared: Prepared = self._encoder.prepare(items[place], side)
                return prepared
            except ValueError as error:
                return BadInputError(side, place, str(error))

        places = list(items)
        if all(isinstance(part, str) for item in items.values() for part in item.parts):
            yield {place: prepare(place) for place in places}
            return
        pool = ThreadPoolExecutor(worker_threads(), thread_name_prefix="mmrag-images")
        ahead: deque[dict[int, Future[Prepared | BadInputError]]] = deque()
        try:
            for start in range(0, len(places), PICTURES):
                ahead.append({at: pool.submit(prepare, at) for at in places[start : start + PICTURES]})
                if len(ahead) == 2:
                    yield {at: future.result() for at, future in ahead.popleft().items()}
            while ahead:
                yield {at: future.result() for at, future in ahead.popleft().items()}
        finally:
            pool.shutdown(cancel_futures=True)

    async def aencode_query(
        self,
        queries: Sequence[QueryInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
        on_error: str | None = None,
    ) -> Encoded:
        """`encode_query` in a thread."""
        return await asyncio.to_thread(
            self.encode_query, queries, batch_size=batch_size, show_progress=show_progress, on_error=on_error
        )

    async def aencode_document(
        self,
        documents: Sequence[DocumentInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
        on_error: str | None = None,
    ) -> Encoded:
        """`encode_document` in a thread."""
        return await asyncio.to_thread(
            self.encode_document,
            documents,
            batch_size=batch_size,
            show_progress=show_progress,
            on_error=on_error,
        )


def _sorted_out(
    window: Mapping[int, Prepared | BadInputError], rule: str, done: Encoded
) -> dict[int, Prepared]:
    """The inputs of a window that can be embedded; the others are noted, or raised."""
    ready: dict[int, Prepared] = {}
    for place, result in window.items():
        if isinstance(result, BadInputError):
            if rule == "raise":
                raise result
            done.skipped[place] = result.reason
            continue
        ready[place] = result
        if result.cut:
            done.cut.append(place)
    return ready


def _keep(matrix: Matrix, side: str, place: int, rule: str, done: Encoded) -> None:
    """A matrix of numbers in its place; one of NaN would be in an index and rank as it likes."""
    if np.isfinite(matrix).all():
        done[place] = matrix
        return
    reason = (
        "its vectors must be finite, got NaN or infinity from the model. Load it with dtype='bfloat16' or "
        "'float32'; float16 overflows."
    )
    if rule == "raise":
        raise BadInputError(side, place, reason)
    done.skipped[place] = reason


def whole(name: str, value: int) -> int:
    """The value, which must be a whole number of at least 1.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return value


def one_of(name: str, value: Any, known: Sequence[Any]) -> Any:  # noqa: ANN401  what it was given
    """The value, which must be one of the known ones.

    Raises:
        ValueError: it is not.
    """
    if not any(value is one or (isinstance(value, str) and value == one) for one in known):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}.")
    return value
