"""`EncodingCalls`: the calls of an embedder, the same for every design. Imports no torch.

Inputs in any mix, thoughts, threads for images, bad inputs, results in order. Designs differ in their
`InputEncoder`: how one input is prepared, and how prepared inputs become matrices.
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

from mmrag.embedders.base import DocumentInput, EmbedderBase, QueryInput, Reasoner, check_batch
from mmrag.errors import BadInputError, check_whole
from mmrag.machine import worker_threads
from mmrag.models.inputs import PAGE_TEXT, Item, document_item, query_item
from mmrag.progress import progress_bar
from mmrag.types import Budget, Matrix

logger = logging.getLogger(__name__)

BATCH_SIZE = 32
ON_ERROR = ("raise", "skip")
PICTURES = 16
"""Inputs whose pixels are in memory together, twice: about 30 MB each at the paper's size."""


class PreparedInput(Protocol):
    """An input as tokens and pixels, ready for a batch."""

    @property
    def cut(self) -> bool:
        """Return whether the text was longer than ``max_tokens``."""
        ...


class InputEncoder(Protocol):
    """A model that turns items into matrices."""

    def prepare(self, item: Item, side: str) -> Any:  # noqa: ANN401  a `PreparedInput`
        """Decode, resize and tokenise one input; may run in any thread. May raise ValueError."""
        ...

    def encode(
        self, inputs: Sequence[Any], side: str, rows: int, batch_size: int
    ) -> Iterator[tuple[int, Matrix | BadInputError]]:
        """Yield ``(position, matrix)`` as they are done; a server may find only then that one is refused."""
        ...


class Matrices(list[Any]):
    """The matrices of a call, in input order, with the inputs that were left out or cut.

    With ``on_error="skip"`` an input that was left out has None for a matrix.

    Attributes:
        skipped: position and reason of each input left out.
        cut: positions of inputs whose text was longer than ``max_tokens`` and was cut.
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
        thoughts: writes the thoughts of inputs without one; None: inputs keep the thought they have.
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
        self.max_tokens = check_whole("max_tokens", max_tokens)
        self.batch_size = check_whole("batch_size", batch_size)
        self.page_text = check_choice("page_text", page_text, PAGE_TEXT)
        self.thoughts = thoughts
        self.on_error = check_choice("on_error", on_error, ON_ERROR)

    def __repr__(self) -> str:
        rows = f"({self.budget.query}, {self.budget.document})"
        return f"{type(self).__name__}({self.name!r}, budget={rows}, dim={self.dim})"

    @property
    @abstractmethod
    def name(self) -> str:
        """Return the name for people."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Return the width of a vector."""

    @property
    @abstractmethod
    def budget(self) -> Budget:
        """Return the most rows per query and per document."""

    @abstractmethod
    def _instruction(self, side: str) -> str:
        """Return the instruction of inputs without one of their own."""

    def encode_query(
        self,
        queries: Sequence[QueryInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
        on_error: str | None = None,
    ) -> Matrices:
        """Encode queries as ``(budget.query, dim)`` float32 matrices, rows L2-normalised, in order.

        Args:
            queries: `str` or `Query`.
            batch_size: most inputs of a forward pass; no more than the embedder's own.
            show_progress: draw a bar.
            on_error: overrides the embedder's own.

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
    ) -> Matrices:
        """Encode documents as ``(budget.document, dim)`` float32 matrices, rows L2-normalised, in order.

        Args:
            documents: `str`, `Page` or `Content`; an empty one has a vector, too.
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
        inputs: Sequence[Any],
        side: str,
        batch_size: int | None,
        show_progress: bool,
        on_error: str | None,
    ) -> Matrices:
        kind = "queries" if side == "query" else "documents"
        check_batch(inputs, batch_size, kind)
        size = self.batch_size if batch_size is None else batch_size
        rule = check_choice("on_error", self.on_error if on_error is None else on_error, ON_ERROR)
        matrices = Matrices([None] * len(inputs))
        items = self._items(inputs, side, rule, matrices)
        with progress_bar(
            total=len(inputs), desc=f"encoding {kind}", unit="input", is_shown=show_progress
        ) as bar:
            bar.update(len(matrices.skipped))
            for window in self._windows(items, side):
                ready = _usable(window, rule, matrices)
                for position, result in self._encode_ready(ready, side, size):
                    _store(result, side, position, rule, matrices)
                    bar.update()
                bar.update(len(window) - len(ready))
        if matrices.cut:
            self._warn_of_cut(matrices.cut, len(inputs), kind)
        return matrices

    def _encode_ready(
        self, ready: Mapping[int, PreparedInput], side: str, batch_size: int
    ) -> Iterator[tuple[int, Matrix | BadInputError]]:
        """Yield position and matrix of each input, in the order of the batches."""
        positions, inputs = list(ready), list(ready.values())
        rows = self.budget.query if side == "query" else self.budget.document
        for index, matrix in self._encoder.encode(inputs, side, rows, batch_size):
            yield positions[index], matrix

    def _warn_of_cut(self, positions: Sequence[int], total: int, kind: str) -> None:
        logger.warning(
            "%d of %d %s were longer than max_tokens=%d and their text was cut, the first at %d",
            len(positions), total, kind, self.max_tokens, positions[0],
        )  # fmt: skip

    def _items(self, inputs: Sequence[Any], side: str, rule: str, matrices: Matrices) -> dict[int, Item]:
        """Return every usable input as an item with its thought, by position."""
        items: dict[int, Item] = {}
        for position, value in enumerate(inputs):
            try:
                if side == "query":
                    items[position] = query_item(value, position, self._instruction("query"))
                else:
                    instruction = self._instruction("document")
                    items[position] = document_item(value, position, instruction, self.page_text)
            except (TypeError, BadInputError) as error:
                if rule == "raise":
                    raise
                matrices.skipped[position] = getattr(error, "reason", str(error))
        return self._with_thoughts(items, inputs, side)

    def _with_thoughts(self, items: dict[int, Item], inputs: Sequence[Any], side: str) -> dict[int, Item]:
        """Ask the reasoner for the thoughts of inputs without one."""
        if self.thoughts is None:
            return items
        positions = [position for position, item in items.items() if not item.thought]
        if not positions:
            return items
        think = self.thoughts.think_queries if side == "query" else self.thoughts.think_documents
        thoughts = think([inputs[position] for position in positions])
        return items | {
            position: replace(items[position], thought=thought)
            for position, thought in zip(positions, thoughts, strict=True)
        }

    def _windows(
        self, items: Mapping[int, Item], side: str
    ) -> Iterator[dict[int, PreparedInput | BadInputError]]:
        """Yield inputs as tokens and pixels: all texts at once, images `PICTURES` at a time."""
        if all(isinstance(part, str) for item in items.values() for part in item.parts):
            yield {position: self._prepare(position, item, side) for position, item in items.items()}
        else:
            yield from self._windows_ahead(items, side)

    def _prepare(self, position: int, item: Item, side: str) -> PreparedInput | BadInputError:
        try:
            ready: PreparedInput = self._encoder.prepare(item, side)
            return ready
        except ValueError as error:
            return BadInputError(side, position, str(error))

    def _windows_ahead(
        self, items: Mapping[int, Item], side: str
    ) -> Iterator[dict[int, PreparedInput | BadInputError]]:
        """Yield `PICTURES` inputs at a time, prepared in threads, one window ahead of the model."""
        positions = list(items)
        pool = ThreadPoolExecutor(worker_threads(), thread_name_prefix="mmrag-images")
        ahead: deque[dict[int, Future[PreparedInput | BadInputError]]] = deque()
        try:
            for start in range(0, len(positions), PICTURES):
                window = positions[start : start + PICTURES]
                ahead.append({at: pool.submit(self._prepare, at, items[at], side) for at in window})
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
    ) -> Matrices:
        """Run `encode_query` in a thread."""
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
    ) -> Matrices:
        """Run `encode_document` in a thread."""
        return await asyncio.to_thread(
            self.encode_document,
            documents,
            batch_size=batch_size,
            show_progress=show_progress,
            on_error=on_error,
        )


def _usable(
    window: Mapping[int, PreparedInput | BadInputError], rule: str, matrices: Matrices
) -> dict[int, PreparedInput]:
    """Return the inputs of a window that can be embedded; note the others, or raise."""
    ready: dict[int, PreparedInput] = {}
    for position, result in window.items():
        if isinstance(result, BadInputError):
            if rule == "raise":
                raise result
            matrices.skipped[position] = result.reason
            continue
        ready[position] = result
        if result.cut:
            matrices.cut.append(position)
    return ready


def _store(result: Matrix | BadInputError, side: str, position: int, rule: str, matrices: Matrices) -> None:
    """Store a matrix at its position; refuse NaN, which in an index would rank at random."""
    if isinstance(result, BadInputError):
        reason = result.reason
    elif np.isfinite(result).all():
        matrices[position] = result
        return
    else:
        reason = (
            "its vectors must be finite, got NaN or infinity from the model. Load it with dtype='bfloat16' "
            "or 'float32'; float16 overflows."
        )
    if rule == "raise":
        raise BadInputError(side, position, reason)
    matrices.skipped[position] = reason


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:  # noqa: ANN401  the value
    """Return `value` if it is one of `choices`.

    Raises:
        ValueError: it is not.
    """
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")
    return value
