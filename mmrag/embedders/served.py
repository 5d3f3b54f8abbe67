"""An embedder behind a URL: one vector an item from any OpenAI-compatible ``/v1/embeddings``.

Decisions taken here:

* *Two ways of asking, one an embedder.* A text embedder sends batches of strings (``input``), which every
  OpenAI-compatible server takes. One that takes images sends each item as a chat (``messages``, vLLM), its
  texts, too: only then have questions and pictures gone through the same chat template.
* *Whose vectors they are, the server says.* The model's name in its answers, not the URL, is in the
  fingerprint, and an answer of another model or width is an error, not a row in the index.
* *base64 is tried first*: exact float32, a third of the size of JSON numbers. Servers that ignore it or
  refuse it (LM Studio, older vLLM) are asked for numbers from then on.
* *A page that was rendered is embedded by its picture*; its words are in the index's text channel already
  and would crowd the picture in the model's context. ``page_text=True`` sends both.
* *Nothing is cut off here.* Text beyond the model's context is the server's error, quoted, with the
  input's position; ``extra={"truncate_prompt_tokens": -1}`` lets vLLM cut it.
* *Pictures travel as PNG*, so that a vector does not depend on a JPEG encoder.
* *No text* is sent as ``"."``, since servers refuse the empty string. A page without text in a file of its
  own, a photograph for example, is embedded by the words of the file's name, as `TextEmbedder` does.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from mmrag.embedders.base import DocumentInput, QueryInput
from mmrag.embedders.served_wire import (
    BLANK,
    Item,
    Vectors,
    document_item,
    messages,
    parse_embeddings,
    query_item,
    sent_text,
    wrong_answer,
)
from mmrag.errors import ServerAnswerError, ServerStatusError
from mmrag.serving.client import Json, ServerClient
from mmrag.types import Budget, Matrix

OWN_FIELDS = ("model", "input", "messages", "encoding_format", "embed_dtype", "endianness")
"""Fields of a request that `extra` may not set."""

_ALGORITHM = "served-1"  # part of the fingerprint: raise it when the same settings give other vectors
_REFUSALS = frozenset({400, 413, 415, 422})  # the request itself, not the server, is at fault


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the server's first answer said: the model and the width of its vectors."""

    model: str
    dim: int


class ServedEmbedder:
    """Queries and documents in, one vector an item out, computed by a server.

    Multi-vector models (vLLM's ``/pooling`` with ``token_embed``) are not spoken to: an answer of several
    vectors an item is refused. Safe to share between threads and event loops. Copies and pickles carry no
    key: whoever unpickles reads ``MMRAG_API_KEY`` from their own environment.

    Args:
        base_url: ``http://host:8000`` or ``http://host:8000/v1``.
        model: its name on the server. None: the only one that is served.
        api_key: see `mmrag.serving.client`; None looks into the environment, ``""`` sends none.
        dim: the width the vectors must have. None: asked from the server once. It does not shorten
            vectors; ``extra={"dimensions": 256}`` asks for that, where the model can.
        modalities: ``("text",)`` or ``("text", "image")``.
        query_instruction: of a query that brings none. A text embedder puts it before the text as it
            stands, so it ends with its own colon and space.
        document_instruction: the same for documents.
        instruction_role: where an embedder that takes images puts it: ``"system"``, a message of its own,
            or ``"user"``, before the text. Which one, the model's card says.
        batch_size: texts a request; with images it is one item a request.
        max_concurrency: requests in flight.
        timeout: seconds that one request may take, retries included.
        max_retries: attempts after the first.
        image_pixels: largest area of a picture; larger ones are made smaller, smaller ones stay.
        page_text: send a rendered page's text beside its picture.
        normalize: scale vectors to length 1. Off, they stay as the server gave them.
        extra: further fields of every request, such as ``{"add_generation_prompt": True}``.

    Raises:
        ValueError: an argument is out of its range, or `extra` sets one of `OWN_FIELDS`.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        dim: int | None = None,
        modalities: Sequence[str] = ("text",),
        query_instruction: str = "",
        document_instruction: str = "",
        instruction_role: str = "system",
        batch_size: int = 32,
        max_concurrency: int = 8,
        timeout: float = 300.0,
        max_retries: int = 2,
        image_pixels: int = 1_600_000,
        page_text: bool = False,
        normalize: bool = True,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if dim is not None:
            _check_whole("dim", dim)
        _check_whole("batch_size", batch_size)
        _check_whole("max_concurrency", max_concurrency)
        if image_pixels < 1024:
            raise ValueError(f"image_pixels must be at least 1024, got {image_pixels!r}.")
        if instruction_role not in ("system", "user"):
            raise ValueError(f"instruction_role must be 'system' or 'user', got {instruction_role!r}.")
        self.model = model
        self.query_instruction = query_instruction
        self.document_instruction = document_instruction
        self.instruction_role = instruction_role
        self.batch_size = batch_size
        self.image_pixels = image_pixels
        self.page_text = page_text
        self.normalize = normalize
        self.extra = _checked_extra(extra)
        self._modalities = _checked_modalities(modalities)
        self._wanted_dim = dim
        self._asked = model  # None: not known yet which one is served
        self._facts: _Facts | None = None
        self._base64: bool | None = None  # None: not known yet whether the server takes it
        self._lock = threading.Lock()
        self._client = ServerClient(
            base_url,
            model=model,
            api_key=api_key,
            timeout=timeout,
            max_retries=max_retries,
            max_concurrency=max_concurrency,
        )

    def __repr__(self) -> str:
        return f"ServedEmbedder({self._client!r}, modalities={tuple(sorted(self._modalities))})"

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock; the client leaves its key and sockets behind by itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    # -------------------------------------------------------------------------------- what it is

    @property
    def base_url(self) -> str:
        """The API that is asked, version included."""
        return self._client.base_url

    @property
    def name(self) -> str:
        """The model's name as the server tells it, which is asked once."""
        return self._known().model

    @property
    def fingerprint(self) -> str:
        """Digest of the model's name and of all settings that change a vector; 32 hexadecimal digits.

        Neither the URL nor the key is in it: an index made through one URL opens through another. It
        cannot see that a server's weights changed under the same name.
        """
        images = "image" in self._modalities
        settings = {
            "algorithm": _ALGORITHM,
            "model": self._known().model,
            "modalities": sorted(self._modalities),
            "query_instruction": self.query_instruction,
            "document_instruction": self.document_instruction,
            "instruction_role": self.instruction_role if images else None,
            "image_pixels": self.image_pixels if images else None,
            "page_text": self.page_text if images else None,
            "normalize": self.normalize,
            "extra": self.extra,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def dim(self) -> int:
        """Width of a vector; asked from the server once where it was not given."""
        return self._wanted_dim if self._wanted_dim is not None else self._known().dim

    @property
    def budget(self) -> Budget:
        """One row on each side."""
        return Budget(query=1, document=1)

    @property
    def modalities(self) -> frozenset[str]:
        """``{"text"}`` or ``{"text", "image"}``."""
        return self._modalities

    # ---------------------------------------------------------------------------------- encoding

    def encode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int | None = None, show_progress: bool = False
    ) -> list[Matrix]:
        """One ``(1, dim)`` float32 matrix a query, in input order.

        Args:
            queries: texts, or `Query`; its `instruction` replaces `query_instruction`, ``""`` is none.
            batch_size: instead of the embedder's.
            show_progress: draw a bar.

        Raises:
            UnsupportedInputError: a query has an image and this embedder takes text only.
            ServerError: as `ServerClient.post`; also an answer that is no list of finite vectors of one
                width, one for each input, by the model that answered first.
        """
        items = self._queries(queries)
        return self._encode(items, batch_size, "queries", show_progress)

    def encode_document(
        self,
        documents: Sequence[DocumentInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
    ) -> list[Matrix]:
        """One ``(1, dim)`` float32 matrix a document, in input order; see `encode_query`.

        Raises:
            UnsupportedInputError: a `Content` is an image without text and this embedder takes text only.
            ServerError: see `encode_query`; nothing is returned of a list that failed in part.
        """
        items = self._documents(documents)
        return self._encode(items, batch_size, "documents", show_progress)

    async def aencode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int | None = None, show_progress: bool = False
    ) -> list[Matrix]:
        """`encode_query` without blocking the event loop."""
        items = self._queries(queries)
        return await self._aencode(items, batch_size, "queries", show_progress)

    async def aencode_document(
        self,
        documents: Sequence[DocumentInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
    ) -> list[Matrix]:
        """`encode_document` without blocking the event loop."""
        items = self._documents(documents)
        return await self._aencode(items, batch_size, "documents", show_progress)

    def _encode(
        self, items: list[Item], batch_size: int | None, what: str, show_progress: bool
    ) -> list[Matrix]:
        size = self._size(batch_size)
        if not items:
            return []
        model = self._named()
        spans = list(_spans(len(items), size))

        def ask(span: range) -> Vectors:
            with _placed(span):
                return self._ask(items[span.start : span.stop], model)

        vectors: list[Matrix] = []
        with (
            tqdm(total=len(items), desc=f"encoding {what}", disable=not show_progress) as bar,
            ThreadPoolExecutor(min(self._client.max_concurrency, len(spans))) as pool,
        ):
            for answer in pool.map(ask, spans):  # the first error takes back what has not begun
                vectors += [row[None] for row in answer]
                bar.update(len(answer))
        return vectors

    async def _aencode(
        self, items: list[Item], batch_size: int | None, what: str, show_progress: bool
    ) -> list[Matrix]:
        size = self._size(batch_size)
        if not items:
            return []
        model = await self._anamed()
        spans = list(_spans(len(items), size))
        answers: dict[int, Vectors] = {}
        waiting = iter(spans)

        async def work() -> None:
            for span in waiting:  # shared: each span is taken once
                with _placed(span):
                    answer = await self._aask(items[span.start : span.stop], model)
                answers[span.start] = answer
                bar.update(len(answer))

        with tqdm(total=len(items), desc=f"encoding {what}", disable=not show_progress) as bar:
            workers = [
                asyncio.create_task(work()) for _ in range(min(self._client.max_concurrency, len(spans)))
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        return [row[None] for span in spans for row in answers[span.start]]

    def _size(self, batch_size: int | None) -> int:
        """Items a request."""
        if batch_size is not None:
            _check_whole("batch_size", batch_size)
        return 1 if "image" in self._modalities else batch_size or self.batch_size

    def _queries(self, queries: Sequence[QueryInput]) -> list[Item]:
        images = "image" in self._modalities
        checked = enumerate(_checked_list(queries, "queries"))
        return [query_item(query, at, self.query_instruction, images=images) for at, query in checked]

    def _documents(self, documents: Sequence[DocumentInput]) -> list[Item]:
        images, text = "image" in self._modalities, self.page_text
        checked = enumerate(_checked_list(documents, "documents"))
        return [
            document_item(one, at, self.document_instruction, images=images, page_text=text)
            for at, one in checked
        ]

    def _body(self, items: Sequence[Item], model: str) -> Json:
        if "image" in self._modalities:
            (item,) = items
            chat = messages(item, self.instruction_role, self.image_pixels)
            return {**self.extra, "model": model, "messages": chat}
        texts = [item.instruction + (sent_text(item.text) or BLANK) for item in items]
        return {**self.extra, "model": model, "input": texts}

    # ------------------------------------------------------------------------------- the talking

    def _ask(self, items: Sequence[Item], model: str) -> Vectors:
        """``(items, dim)`` by one request, or two while it is not known whether base64 is taken."""
        body = self._body(items, model)
        if self._base64 is not False:
            try:
                return self._read(self._client.post("embeddings", _in_base64(body)), len(items), model)
            except ServerStatusError as error:
                if not self._may_be_base64(error):
                    raise
        return self._read(self._client.post("embeddings", body), len(items), model)

    async def _aask(self, items: Sequence[Item], model: str) -> Vectors:
        """`_ask` without blocking the event loop; pictures are encoded in a thread."""
        seen = any(item.image is not None for item in items)
        body = await asyncio.to_thread(self._body, items, model) if seen else self._body(items, model)
        if self._base64 is not False:
            try:
                answer = await self._client.apost("embeddings", _in_base64(body))
                return self._read(answer, len(items), model)
            except ServerStatusError as error:
                if not self._may_be_base64(error):
                    raise
        return self._read(await self._client.apost("embeddings", body), len(items), model)

    def _may_be_base64(self, error: ServerStatusError) -> bool:
        """Whether this refusal may be of the encoding: base64 has never worked, and the request is blamed."""
        return self._base64 is not True and error.status in _REFUSALS

    def _read(self, answer: Json, count: int, model: str) -> Vectors:
        vectors, encoded = parse_embeddings(answer, count)
        if self._base64 is None:
            self._base64 = encoded
        told = answer.get("model")
        self._agree(_Facts(told if isinstance(told, str) and told else model, vectors.shape[1]), answer)
        if not self.normalize:
            return vectors
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.all(norms > 0):
            raise wrong_answer("gave a vector of zeros, which has no direction", "Check the model.", answer)
        unit: Vectors = vectors / norms
        return unit

    def _agree(self, facts: _Facts, answer: Json) -> None:
        """Hold every answer to the first one, and to the width that was asked for."""
        if self._wanted_dim not in (None, facts.dim):
            raise wrong_answer(
                f"must give vectors of {self._wanted_dim} numbers, got {facts.dim} from {facts.model!r}",
                "Leave dim out, or check the model.",
                answer,
            )
        with self._lock:
            first = self._facts = self._facts or facts
        if facts != first:
            raise wrong_answer(
                f"gave {first.dim} numbers a vector by {first.model!r} before, got {facts.dim} by "
                f"{facts.model!r}",
                "Another model serves there now; make a new embedder and index again.",
                answer,
            )

    def _known(self) -> _Facts:
        """What the server says of itself; a word is embedded to find out, once."""
        if self._facts is None:
            self._ask([Item(BLANK, None, "")], self._named())
        if self._facts is None:  # pragma: no cover  `_ask` sets it or raises
            raise RuntimeError("the server's first answer was not noted.")
        return self._facts

    def _named(self) -> str:
        """The model to ask for."""
        if self._asked is None:
            self._asked = self._only(self._client.models())
        return self._asked

    async def _anamed(self) -> str:
        if self._asked is None:
            self._asked = self._only(await self._client.amodels())
        return self._asked

    def _only(self, models: list[str]) -> str:
        if len(models) != 1:
            listed = ", ".join(models) or "none"
            raise ServerAnswerError(
                f"{self.base_url} must serve just one model where none is named, got {len(models)} "
                f"({listed}). Pass model=...",
                listed,
            )
        return models[0]


@contextmanager
def _placed(span: range) -> Iterator[None]:
    """Say of a refused request which inputs were in it."""
    try:
        yield
    except ServerStatusError as error:
        if error.status not in _REFUSALS:
            raise
        one = len(span) == 1
        which = (
            f"Input {span.start} (counted from 0) was" if one else f"Inputs {span.start} to {span[-1]} were"
        )
        raise ServerStatusError(f"{error} {which} in it.", error.status, error.body) from error


def _in_base64(body: Json) -> Json:
    return {**body, "encoding_format": "base64"}


def _spans(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def _checked_list(inputs: Sequence[Any], what: str) -> Sequence[Any]:
    if isinstance(inputs, str | bytes) or not isinstance(inputs, Sequence):
        raise TypeError(f"{what} must be a list, got {type(inputs).__name__}. Wrap a single one in a list.")
    return inputs


def _check_whole(name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")


def _checked_modalities(modalities: Iterable[str]) -> frozenset[str]:
    given = frozenset([modalities] if isinstance(modalities, str) else modalities)
    if given not in ({"text"}, {"text", "image"}):
        raise ValueError(f"modalities must be ('text',) or ('text', 'image'), got {sorted(given)}.")
    return given


def _checked_extra(extra: Mapping[str, Any] | None) -> dict[str, Any]:
    extra = dict(extra or {})
    taken = [name for name in OWN_FIELDS if name in extra]
    if taken:
        raise ValueError(
            f"extra must not set {', '.join(OWN_FIELDS)}, got {', '.join(taken)}. "
            "These fields are this embedder's own."
        )
    try:
        copy: dict[str, Any] = json.loads(json.dumps(extra))  # later changes of the caller's stay out
    except (TypeError, ValueError) as error:
        raise ValueError(f"extra must be JSON, got {extra!r} ({error}).") from error
    return copy
