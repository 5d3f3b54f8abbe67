"""An embedder behind a URL: one vector per input from any OpenAI-compatible ``/v1/embeddings``.

Decisions:

* *Two forms of request, one per embedder.* A text embedder sends batches of strings (``input``), which every
  OpenAI-compatible server takes. One that takes images sends each input as a chat (``messages``, vLLM), its
  texts, too: only then have questions and pages gone through the same chat template.
* *The server says whose vectors they are.* The model's name in its replies, not the URL, is in the
  fingerprint, and a reply of another model or width is an error, not a row in the index.
* *base64 is tried first*: exact float32, a third of the size of JSON numbers. Servers that ignore it or
  refuse it (LM Studio, older vLLM) get requests for numbers from then on.
* *A page with an image is embedded by it alone*; its words are in the index's text channel already and would
  crowd the image in the model's context.
* *Nothing is cut off here.* Text beyond the model's context is the server's error, quoted, with the
  input's position; ``extra={"truncate_prompt_tokens": -1}`` lets vLLM cut it.
* *Images travel as PNG*, so that a vector does not depend on a JPEG encoder.
* *No text* is sent as ``"."``, since servers refuse the empty string. A page without text in a file of its
  own, a photograph for example, is embedded by the words of the file's name, as `TextEmbedder` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mmrag.embedders.base import DocumentInput, QueryInput, as_document, as_query, check_batch
from mmrag.embedders.served_wire import (
    BLANK,
    Item,
    Vectors,
    document_item,
    messages,
    parse_embeddings,
    query_item,
    reply_error,
    sent_text,
)
from mmrag.errors import ServerStatusError, check_whole
from mmrag.forks import new_lock
from mmrag.progress import progress_bar
from mmrag.serving.actions import Actions, Call, arun_all, run, run_all
from mmrag.serving.client import Json, ServerClient
from mmrag.types import Budget, Matrix

OWN_FIELDS = ("model", "input", "messages", "encoding_format", "embed_dtype", "endianness")
"""Fields of a request that `extra` may not set."""

_ALGORITHM = "served-1"  # part of the fingerprint: raise it when the same settings give other vectors
_REFUSALS = frozenset({400, 413, 415, 422})  # the request itself, not the server, is at fault


@dataclass(frozen=True, slots=True)
class _ServedModel:
    """The model and the width of its vectors, as the server's first reply gave them."""

    name: str
    dim: int


class ServedEmbedder:
    """Queries and documents in, one vector per input out, computed by a server.

    Multi-vector models (vLLM's ``/pooling`` with ``token_embed``) are not supported: a reply of several
    vectors per input is refused. Safe to share between threads and event loops. Copies and pickles carry no
    key: whoever unpickles reads ``MMRAG_API_KEY`` from their own environment.

    Args:
        base_url: ``http://host:8000`` or ``http://host:8000/v1``.
        model: its name on the server. None: the only one that is served.
        api_key: see `mmrag.serving.client`; None looks into the environment, ``""`` sends none.
        modalities: ``("text",)`` or ``("text", "image")``.
        query_instruction: for a query that brings none. A text embedder puts it before the text as it
            is, so it ends with its own colon and space.
        document_instruction: the same for documents.
        instruction_role: where an embedder that takes images puts it: ``"system"``, a message of its own,
            or ``"user"``, before the text. The model's card says which.
        batch_size: texts per request; with images it is one input per request.
        max_concurrency: requests in flight.
        timeout: seconds that one request may take, retries included.
        max_retries: attempts after the first.
        image_pixels: largest area of an image; larger ones are scaled down.
        extra: further fields of every request, such as ``{"add_generation_prompt": True}``.

    Raises:
        ValueError: an argument is out of its range, or `extra` sets one of `OWN_FIELDS`.

    Example:
        >>> embedder = ServedEmbedder("http://127.0.0.1:8000", query_instruction="query: ")
        >>> embedder.encode_query(["Who chairs the board?"])[0].shape  # doctest: +SKIP
        (1, 384)
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        modalities: Sequence[str] = ("text",),
        query_instruction: str = "",
        document_instruction: str = "",
        instruction_role: str = "system",
        batch_size: int = 32,
        max_concurrency: int = 8,
        timeout: float = 300.0,
        max_retries: int = 2,
        image_pixels: int = 1_600_000,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if instruction_role not in ("system", "user"):
            raise ValueError(f"instruction_role must be 'system' or 'user', got {instruction_role!r}.")
        self.model = model
        self.query_instruction = query_instruction
        self.document_instruction = document_instruction
        self.instruction_role = instruction_role
        self.batch_size = check_whole("batch_size", batch_size)
        self.image_pixels = check_whole("image_pixels", image_pixels, 1024)
        self.extra = _check_extra(extra)
        self._modalities = _check_modalities(modalities)
        self._first_model: _ServedModel | None = None  # the server has not replied yet
        self._base64: bool | None = None  # None: not clear yet whether the server takes it
        self._lock = new_lock()
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
        """Return everything but the lock; the client leaves its key and sockets out by itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = new_lock()

    # ------------------------------------------------------------------------------- properties

    @property
    def base_url(self) -> str:
        """Return the URL of the API, version included."""
        return self._client.base_url

    @property
    def name(self) -> str:
        """Return the model's name as the server gives it; the first use asks for it."""
        return self._first_reply().name

    @property
    def dim(self) -> int:
        """Return the width of a vector; the first use asks the server."""
        return self._first_reply().dim

    @property
    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits that change with the model's name and with each setting of a vector.

        Neither the URL nor the key is in it: an index made through one URL opens through another. It
        cannot see that a server's weights changed under the same name.
        """
        images = "image" in self._modalities
        settings = {
            "algorithm": _ALGORITHM,
            "model": self.name,
            "modalities": sorted(self._modalities),
            "query_instruction": self.query_instruction,
            "document_instruction": self.document_instruction,
            "instruction_role": self.instruction_role if images else None,
            "image_pixels": self.image_pixels if images else None,
            "extra": self.extra,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def budget(self) -> Budget:
        """Return one row on each side."""
        return Budget(query=1, document=1)

    @property
    def modalities(self) -> frozenset[str]:
        """Return ``{"text"}`` or ``{"text", "image"}``."""
        return self._modalities

    # ---------------------------------------------------------------------------------- encoding

    def encode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int | None = None, show_progress: bool = False
    ) -> list[Matrix]:
        """Return one ``(1, dim)`` float32 matrix of length 1 per query, in input order.

        Args:
            queries: texts, or `Query`; its `instruction` replaces `query_instruction`, ``""`` is none.
            batch_size: instead of the embedder's.
            show_progress: draw a bar.

        Raises:
            UnsupportedInputError: a query has an image and this embedder takes text only.
            ServerError: as `ServerClient.post`; also a reply that is no list of finite vectors of one
                width, one for each input, by the model that replied first.
        """
        return self._encode(self._query_items(queries, batch_size), batch_size, show_progress)

    async def aencode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int | None = None, show_progress: bool = False
    ) -> list[Matrix]:
        """Run `encode_query` without blocking the event loop."""
        return await self._aencode(self._query_items(queries, batch_size), batch_size, show_progress)

    def encode_document(
        self,
        documents: Sequence[DocumentInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
    ) -> list[Matrix]:
        """Return one ``(1, dim)`` float32 matrix per document, in input order; see `encode_query`.

        Raises:
            UnsupportedInputError: a `Content` is an image without text and this embedder takes text only.
            ServerError: see `encode_query`; nothing is returned of a list that failed in part.
        """
        return self._encode(self._document_items(documents, batch_size), batch_size, show_progress)

    async def aencode_document(
        self,
        documents: Sequence[DocumentInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
    ) -> list[Matrix]:
        """Run `encode_document` without blocking the event loop."""
        return await self._aencode(self._document_items(documents, batch_size), batch_size, show_progress)

    def _encode(self, items: list[Item], batch_size: int | None, show_progress: bool) -> list[Matrix]:
        if not items:
            return []
        model = self._client.model_name()
        with progress_bar(total=len(items), desc="encoding", is_shown=show_progress) as bar:
            batches = run_all(
                self._batches(items, batch_size, model),
                self._client.max_concurrency,
                lambda vectors: bar.update(len(vectors)),
            )
        return [row[None] for vectors in batches for row in vectors]

    async def _aencode(self, items: list[Item], batch_size: int | None, show_progress: bool) -> list[Matrix]:
        if not items:
            return []
        model = await self._client.amodel_name()
        with progress_bar(total=len(items), desc="encoding", is_shown=show_progress) as bar:
            batches = await arun_all(
                self._batches(items, batch_size, model),
                self._client.max_concurrency,
                lambda vectors: bar.update(len(vectors)),
            )
        return [row[None] for vectors in batches for row in vectors]

    def _query_items(self, queries: Sequence[QueryInput], batch_size: int | None) -> list[Item]:
        check_batch(queries, batch_size, "queries")
        return [
            query_item(as_query(query, at, self._modalities), at, self.query_instruction)
            for at, query in enumerate(queries)
        ]

    def _document_items(self, documents: Sequence[DocumentInput], batch_size: int | None) -> list[Item]:
        check_batch(documents, batch_size, "documents")
        images = "image" in self._modalities
        return [
            document_item(
                as_document(document, at, self._modalities), at, self.document_instruction, images=images
            )
            for at, document in enumerate(documents)
        ]

    # ---------------------------------------------------------------------------------- requests

    def _batches(self, items: list[Item], batch_size: int | None, model: str) -> list[Actions[Vectors]]:
        size = 1 if "image" in self._modalities else batch_size or self.batch_size
        spans = [range(start, min(start + size, len(items))) for start in range(0, len(items), size)]
        return [self._embed(items[span.start : span.stop], model, span) for span in spans]

    def _embed(self, items: Sequence[Item], model: str, span: range) -> Actions[Vectors]:
        """Return ``(items, dim)`` by one request, or two while it is not clear whether base64 is taken."""
        body = yield Call(partial(self._body, items, model))
        with _naming_inputs(span):
            if self._base64 is not False:
                try:
                    base64_body = {**body, "encoding_format": "base64"}
                    return self._read((yield from self._post(base64_body)), len(items), model)
                except ServerStatusError as error:
                    if self._base64 is True or error.status not in _REFUSALS:
                        raise  # base64 has worked before, or the request is not to blame
            return self._read((yield from self._post(body)), len(items), model)

    def _post(self, body: Json) -> Actions[Json]:
        return self._client.exchange("POST", "embeddings", body)

    def _body(self, items: Sequence[Item], model: str) -> Json:
        if "image" in self._modalities:
            (item,) = items
            chat = messages(item, self.instruction_role, self.image_pixels)
            return {**self.extra, "model": model, "messages": chat}
        texts = [item.instruction + (sent_text(item.text) or BLANK) for item in items]
        return {**self.extra, "model": model, "input": texts}

    def _read(self, reply: Json, count: int, model: str) -> Vectors:
        vectors, in_base64 = parse_embeddings(reply, count)
        if self._base64 is None:
            self._base64 = in_base64
        name = reply.get("model")
        name = name if isinstance(name, str) and name else model
        self._check_same_model(_ServedModel(name, vectors.shape[1]), reply)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.all(norms > 0):
            raise reply_error("gave a vector of zeros, which has no direction", "Check the model.", reply)
        unit: Vectors = vectors / norms
        return unit

    def _check_same_model(self, model: _ServedModel, reply: Json) -> None:
        with self._lock:
            first = self._first_model = self._first_model or model
        if model != first:
            raise reply_error(
                f"gave {first.dim} numbers a vector by {first.name!r} before, got {model.dim} by "
                f"{model.name!r}",
                "Another model serves there now; make a new embedder and index again.",
                reply,
            )

    def _first_reply(self) -> _ServedModel:
        """Return the server's model, from its first reply; embeds a word if there was none yet."""
        if self._first_model is None:
            run(self._embed([Item(BLANK, None, "")], self._client.model_name(), range(1)))
        if self._first_model is None:  # pragma: no cover  `_embed` sets it or raises
            raise RuntimeError("the server's first reply was not noted.")
        return self._first_model


@contextmanager
def _naming_inputs(span: range) -> Iterator[None]:
    """Add the positions of the inputs to the error of a request that the server refused."""
    try:
        yield
    except ServerStatusError as error:
        if error.status not in _REFUSALS:
            raise
        single = f"Input {span.start} (counted from 0) was"
        inputs = single if len(span) == 1 else f"Inputs {span.start} to {span[-1]} were"
        raise ServerStatusError(f"{error} {inputs} in it.", error.status, error.body) from error


def _check_modalities(modalities: Iterable[str]) -> frozenset[str]:
    names = frozenset([modalities] if isinstance(modalities, str) else modalities)
    if names not in ({"text"}, {"text", "image"}):
        raise ValueError(f"modalities must be ('text',) or ('text', 'image'), got {sorted(names)}.")
    return names


def _check_extra(extra: Mapping[str, Any] | None) -> dict[str, Any]:
    extra = dict(extra or {})
    own_fields = [name for name in OWN_FIELDS if name in extra]
    if own_fields:
        raise ValueError(
            f"extra must not set {', '.join(OWN_FIELDS)}, got {', '.join(own_fields)}. "
            "These fields are this embedder's own."
        )
    try:
        copy: dict[str, Any] = json.loads(json.dumps(extra))  # later changes of the caller's stay out
    except (TypeError, ValueError) as error:
        raise ValueError(f"extra must be JSON, got {extra!r} ({error}).") from error
    return copy
