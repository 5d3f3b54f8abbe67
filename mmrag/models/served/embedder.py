"""`ServedMLLMEmbedder`: the compressed meta-token embedder of a vLLM server, without torch here.

Decisions taken here:

* *The server says what it is.* Its identity comes with every reply: width, rows, instructions, limits, and
  the settings of the fingerprint. A reply of another identity is an error, not a row in the index.
* *The same fingerprint as the local embedder* of the same checkpoint and settings: an index that one made
  opens with the other. float16 and int8 on the way are rounding, and rounding is in no fingerprint.
* *A request has one picture or a batch of texts*, and many requests are in flight: vLLM makes batches of
  what is there. What a server refuses is asked again by itself, so that one bad input is named and, with
  ``on_error="skip"``, left out alone.
* *Pictures travel as PNG and whole*: the server makes them smaller, once, as the local embedder does. Pages
  are rendered at the size that is used (`image_pixels`), so they carry nothing that is thrown away.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mmrag.embedders.base import Reasoner
from mmrag.errors import BadInputError, ServerAnswerError, ServerStatusError
from mmrag.forks import new_lock
from mmrag.models.calls import EncodingCalls, check_choice
from mmrag.models.fingerprint import fingerprint
from mmrag.models.inputs import Item, ready_image
from mmrag.models.served.wire import (
    MOST_INPUTS,
    PROTOCOL,
    ROWS_FORMS,
    SIDES,
    RowsForm,
    item_data,
    read_cut,
    read_matrices,
    request_data,
)
from mmrag.serving.actions import Actions, Call, run, run_all
from mmrag.serving.client import Json, ServerClient
from mmrag.serving.wire import quote
from mmrag.types import Budget, Matrix

logger = logging.getLogger(__name__)

BATCH_SIZE = 32
_REFUSALS = frozenset({400, 413, 422})
"""The input, not the server, is at fault."""

NO_PLUGIN = frozenset({400, 404, 405, 422, 501})
"""How servers answer a request that only our plugin takes."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What a server says of its checkpoint: `mmrag.models.served.checkpoint.ServedCheckpoint.identity`."""

    name: str
    dim: int
    query_rows: int
    document_rows: int
    query_instruction: str
    document_instruction: str
    image_pixels: int
    max_tokens: int
    trained: bool
    settings: tuple[tuple[str, Any], ...]

    @classmethod
    def read(cls, value: object) -> ServerIdentity:
        """Read the identity of a reply.

        Raises:
            ValueError: it is none, or of another protocol.
        """
        if not isinstance(value, dict):
            raise ValueError(f"must say what it serves, got {type(value).__name__}")
        if value.get("protocol") != PROTOCOL:
            raise ValueError(f"must speak protocol {PROTOCOL}, got {value.get('protocol')!r}")
        kinds = {"name": str, "query_instruction": str, "document_instruction": str, "trained": bool}
        numbers = ("dim", "query_rows", "document_rows", "image_pixels", "max_tokens")
        for name, kind in {**kinds, **dict.fromkeys(numbers, int), "settings": dict}.items():
            if not isinstance(value.get(name), kind):
                raise ValueError(f"must say its {name}, got {value.get(name)!r}")
        if min(value[name] for name in numbers) < 1:
            raise ValueError("must say numbers of at least 1")
        fields = {name: value[name] for name in (*kinds, *numbers)}
        return cls(**fields, settings=tuple(sorted(value["settings"].items(), key=lambda pair: pair[0])))


@dataclass(frozen=True, slots=True)
class _WireInput:
    """An input ready to be sent."""

    data: Json
    has_image: bool
    cut: bool = False


class ServedMLLMEmbedder(EncodingCalls):
    """Nested vectors of a checkpoint that a vLLM server has: ``mmrag serve CHECKPOINT --mode embed``.

    Safe to share between threads. Copies and pickles carry no key: whoever unpickles reads
    ``MMRAG_API_KEY`` from their own environment.

    Args:
        base_url: ``http://host:8000``.
        model: its name on the server. None: the only one that is served.
        api_key: see `mmrag.serving.client`; None looks into the environment, ``""`` sends none.
        budget: most rows of a query and of a document; None: all of the checkpoint's.
        page_text: whether the text of a rendered page is embedded with its picture.
        thoughts: writes the thoughts of inputs without one; None: inputs keep the thought they have.
        on_error: ``"raise"``, or ``"skip"`` to leave out inputs that cannot be embedded.
        form: how rows travel, ``"float16"`` or ``"int8"``, which is half the bytes.
        batch_size: texts of a request; a picture has a request of its own.
        max_concurrency: requests in flight.
        timeout: seconds that one request may take, retries included.
        max_retries: attempts after the first.
        allow_untrained: accept a checkpoint whose tables are untrained, to try things out.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> embedder = ServedMLLMEmbedder("http://127.0.0.1:8000", budget=Budget(1, 16))
        >>> embedder.encode_query(["Who chairs the board?"])[0].shape  # doctest: +SKIP
        (1, 2048)
    """

    nested = True
    """Rows are a nested prefix: any budget may be searched with."""

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        budget: Budget | None = None,
        page_text: bool | str = False,
        thoughts: Reasoner | None = None,
        on_error: str = "raise",
        form: RowsForm = "float16",
        batch_size: int = BATCH_SIZE,
        max_concurrency: int = 8,
        timeout: float = 300.0,
        max_retries: int = 2,
        allow_untrained: bool = False,
    ) -> None:
        super().__init__(
            max_tokens=1,  # the server's own, known with its first reply
            batch_size=batch_size,
            page_text=page_text,
            thoughts=thoughts,
            on_error=on_error,
        )
        self.form = check_choice("form", form, ROWS_FORMS)
        self.allow_untrained = allow_untrained
        self._budget = budget
        self._identity: ServerIdentity | None = None
        self._client = ServerClient(
            base_url,
            model=model,
            api_key=api_key,
            timeout=timeout,
            max_retries=max_retries,
            max_concurrency=max_concurrency,
        )
        self._lock = new_lock()
        self._encoder = self

    def __repr__(self) -> str:
        return f"ServedMLLMEmbedder({self._client!r}, form={self.form!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the lock; the client leaves its key and sockets out by itself."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_encoder")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = new_lock()
        self._encoder = self

    # ---- what it is --------------------------------------------------------------------------------

    @property
    def identity(self) -> ServerIdentity:
        """Return what the server says of itself; the first use asks.

        Raises:
            ServerError: it cannot be reached, has no such plugin, or its checkpoint is untrained and
                `allow_untrained` is not set.
        """
        if self._identity is None:
            run(self._request([], "document", 1))
        if self._identity is None:  # pragma: no cover  `_request` sets it or raises
            raise RuntimeError("the server's first reply was not noted.")
        return self._identity

    @property
    def name(self) -> str:
        """Return checkpoint and compression, for people."""
        return self.identity.name

    @property
    def dim(self) -> int:
        """Return the width of a vector."""
        return self.identity.dim

    @property
    def budget(self) -> Budget:
        """Return the most rows per query and per document.

        Raises:
            ValueError: more were asked for than the checkpoint has.
        """
        most = Budget(self.identity.query_rows, self.identity.document_rows)
        if self._budget is None:
            return most
        for side in SIDES:
            if getattr(self._budget, side) > getattr(most, side):
                raise ValueError(
                    f"budget.{side} must be at most {getattr(most, side)} (the meta tokens of "
                    f"{self.identity.name}), got {getattr(self._budget, side)}."
                )
        return self._budget

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the local embedder with the same checkpoint and settings."""
        return fingerprint(
            dict(self.identity.settings),
            rows=self.budget.document,
            page_text=self.page_text,
            thoughts=self.thoughts,
        )

    @property
    def modalities(self) -> frozenset[str]:
        """Return text and images."""
        return frozenset({"text", "image"})

    @property
    def image_pixels(self) -> int:
        """Return the largest picture area that is used; pages are rendered at it."""
        return self.identity.image_pixels

    def _instruction(self, side: str) -> str:
        identity = self.identity
        return identity.query_instruction if side == "query" else identity.document_instruction

    # ---- encoding ----------------------------------------------------------------------------------

    def prepare(self, item: Item, side: str) -> _WireInput:
        """Decode the pictures of an input and write it as JSON; may run in any thread.

        Raises:
            ValueError: a picture cannot be used.
        """
        del side
        parts = tuple(part if isinstance(part, str) else ready_image(part) for part in item.parts)
        has_image = any(not isinstance(part, str) for part in parts)
        return _WireInput(item_data(Item(parts, item.instruction, item.thought)), has_image)

    def encode(
        self, inputs: Sequence[_WireInput], side: str, rows: int, batch_size: int
    ) -> Iterator[tuple[int, Matrix | BadInputError]]:
        """Yield position and ``(rows, dim)`` float32 of each input, or why it was refused."""
        texts = [at for at, item in enumerate(inputs) if not item.has_image]
        size = min(batch_size, MOST_INPUTS)
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        batches += [[at] for at, item in enumerate(inputs) if item.has_image]
        work = [self._batch([inputs[at] for at in batch], side, rows) for batch in batches]
        for batch, results in zip(batches, run_all(work, self._client.max_concurrency), strict=True):
            yield from zip(batch, results, strict=True)

    def _batch(
        self, inputs: Sequence[_WireInput], side: str, rows: int
    ) -> Actions[list[Matrix | BadInputError]]:
        """Ask for several inputs at once, and for each by itself if the server refuses them."""
        try:
            return list((yield from self._request(inputs, side, rows)))
        except ServerStatusError as error:
            if error.status not in _REFUSALS:
                raise
            if len(inputs) == 1:
                return [BadInputError(side, 0, f"the server refused it: {error}")]
        results: list[Matrix | BadInputError] = []
        for item in inputs:
            results += yield from self._batch([item], side, rows)
        return results

    def _request(self, inputs: Sequence[_WireInput], side: str, rows: int) -> Actions[list[Matrix]]:
        model = yield from self._client.resolve_model()
        data = request_data([item.data for item in inputs], side, rows, self.form)
        try:
            reply = yield from self._client.exchange(
                "POST", "/pooling", {"model": model, "task": "plugin", "data": data}
            )
        except ServerStatusError as error:
            if not inputs and error.status in NO_PLUGIN:
                raise self._not_ours(error) from error
            raise
        matrices: list[Matrix] = yield Call(partial(self._read, reply, len(inputs), rows))
        return matrices

    def _read(self, reply: Json, count: int, rows: int) -> list[Matrix]:
        data = reply.get("data")
        try:
            if not isinstance(data, dict):
                raise ValueError(f"must answer with an object, got {type(data).__name__}")
            self._note(ServerIdentity.read(data.get("identity")))
            matrices = read_matrices(data, count, rows, self.dim, self.form)
        except ValueError as error:
            raise ServerAnswerError(
                f"the server at {self._client.base_url} {error}. It said: {quote(json.dumps(reply)[:2000])}. "
                "Check that it runs `mmrag serve CHECKPOINT --mode embed` with this version of mmrag.",
                json.dumps(reply),
            ) from error
        self._warn_of_cut_inputs(read_cut(data, count))
        return matrices

    def _not_ours(self, error: ServerStatusError) -> ServerStatusError:
        """Return the error of a server that has no such plugin."""
        return ServerStatusError(
            f"{error} A server of nested vectors must run vLLM with mmrag's plugin: "
            "`mmrag serve CHECKPOINT --mode embed`, with mmrag installed in vLLM's environment. For single "
            "vectors of another server take ServedEmbedder.",
            error.status,
            error.body,
        )

    def _warn_of_cut_inputs(self, cut: Sequence[bool]) -> None:
        if any(cut):
            logger.warning(
                "%d of %d inputs were longer than max_tokens=%d and their text was cut",
                sum(cut), len(cut), self.max_tokens,
            )  # fmt: skip

    def _note(self, identity: ServerIdentity) -> None:
        """Keep the first identity; refuse another one.

        Raises:
            ValueError: another checkpoint serves there now, or it is untrained.
        """
        if not identity.trained and not self.allow_untrained:
            raise ValueError(
                "serves a checkpoint whose meta tokens are untrained (allow_untrained=True takes it to try "
                "things out)"
            )
        with self._lock:
            first = self._identity = self._identity or identity
        self.max_tokens = first.max_tokens
        if identity != first:
            raise ValueError(
                f"served {first.name!r} before and serves {identity.name!r} with other settings now (make a "
                "new embedder, and index again)"
            )
