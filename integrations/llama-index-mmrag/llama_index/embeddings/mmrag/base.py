"""`MMRagEmbedding`: one vector per text or image, wherever LlamaIndex takes an embed model.

Decisions taken here:

* The vector is row 0 of mmrag's nested matrix, at length 1: LlamaIndex has no type for several vectors
  per item. `encode_query` and `encode_document` give the matrices, which the store and retriever search.
* A pickle or dict holds no key; the embedder is made again from it and must have the same fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr, SecretStr
from llama_index.core.constants import DEFAULT_EMBED_BATCH_SIZE

from llama_index.embeddings.mmrag.vectors import VectorEmbedding
from mmrag import Budget, load_embedder
from mmrag.hosts.embedders import (
    Model,
    check_fingerprint,
    is_embedder,
    model_setting,
    picklable_model,
)
from mmrag.hosts.inputs import budget_pair
from mmrag.types import Matrix

if TYPE_CHECKING:
    from llama_index.core.callbacks import CallbackManager

    from mmrag.hosts.embedders import DocumentInput, QueryInput


class MMRagEmbedding(VectorEmbedding):
    """Encodes texts, questions and images by mmrag's embedders.

    Args:
        model: None or ``"mmrag-mini"``: the shipped model of text and images, no download;
            a folder: an exported text encoder or a multimodal checkpoint; ``org/name``: a multimodal
            checkpoint on the hub; a ready mmrag `Embedder`; with `base_url`, a served model's name.
        model_name: the same as `model`, for those who type it.
        compression: of visual tokens, for embedders that have it.
        budget: ``(query, document)`` rows that `encode_query` and `encode_document` keep; None: all.
        base_url: an OpenAI-compatible server of embeddings.
        api_key: for the server; None looks into ``MMRAG_API_KEY``. Never written, pickled or shown.
        device: for embedders that run on one.
        embed_batch_size: texts a call, 1..2048.

    Raises:
        ValueError: no such model, or a setting that the model does not have.

    Example:
        >>> model = MMRagEmbedding()
        >>> query = model.get_query_embedding("Which animal barks?")
        >>> len(query) == len(model.get_text_embedding("Dogs bark."))
        True
    """

    model: str | None = Field(default=None, description="Name or folder of the model; None: the shipped one.")
    compression: int | None = Field(default=None, description="Compression of visual tokens.")
    budget: tuple[int, int] | None = Field(default=None, description="Rows kept of a query and a document.")
    base_url: str | None = Field(default=None, description="Server of embeddings.")
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    device: str | None = Field(default=None, description="Where the model runs.")
    fingerprint: str | None = Field(default=None, description="Of the embedder this was first made with.")
    _is_ready_object: bool = PrivateAttr()  # the settings may not suffice to make it again

    def __init__(
        self,
        model: Model = None,
        *,
        model_name: str | None = None,
        compression: int | None = None,
        budget: Budget | tuple[int, int] | None = None,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        device: str | None = None,
        embed_batch_size: int = DEFAULT_EMBED_BATCH_SIZE,
        callback_manager: CallbackManager | None = None,
        num_workers: int | None = None,
        embeddings_cache: Any = None,
        rate_limiter: Any = None,
        fingerprint: str | None = None,
    ) -> None:
        if model is None and fingerprint is None:
            model = model_name  # with a fingerprint this comes from `to_dict`, where it is for people
        secret = SecretStr(api_key) if isinstance(api_key, str) else api_key
        key = None if secret is None else secret.get_secret_value()
        embedder = load_embedder(
            model, base_url=base_url, api_key=key, compression=compression, device=device
        )
        check_fingerprint(embedder, fingerprint, "the embedding model")
        fields: dict[str, Any] = {
            "model": model_setting(model),
            "model_name": embedder.name if base_url is None else str(model or "served"),
            "compression": compression,
            "budget": budget_pair(budget),
            "base_url": base_url,
            "api_key": secret,
            "device": device,
            "embed_batch_size": embed_batch_size,
            "callback_manager": callback_manager,
            "num_workers": num_workers,
            "embeddings_cache": embeddings_cache,
            "rate_limiter": rate_limiter,
            "fingerprint": embedder.fingerprint if base_url is None else None,  # a server is not asked yet
        }
        super().__init__(**fields)
        self._embedder = embedder
        self._is_ready_object = base_url is None and is_embedder(model)

    @classmethod
    def class_name(cls) -> str:
        """Return the name in serialised form."""
        return "MMRagEmbedding"

    def encode_query(self, queries: Sequence[QueryInput]) -> list[Matrix]:
        """Return one nested ``(rows, dim)`` matrix per question, cut to the budget."""
        rows = None if self.budget is None else self.budget[0]
        return [matrix[:rows] for matrix in self._embedder.encode_query(queries)]

    def encode_document(self, documents: Sequence[DocumentInput]) -> list[Matrix]:
        """Return one nested ``(rows, dim)`` matrix per document, cut to the budget."""
        rows = None if self.budget is None else self.budget[1]
        return [matrix[:rows] for matrix in self._embedder.encode_document(documents)]

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the key and open objects.

        Raises:
            TypeError: the embedder was a ready object that cannot be made again from its settings.
        """
        secrets = ("api_key", "callback_manager")  # the host leaves both out of `to_dict`
        fields = {name: value for name, value in self.__dict__.items() if name not in secrets}
        if self._is_ready_object:
            fields["model"] = picklable_model(self._embedder, self.model, self.fingerprint)
        return {"__dict__": fields}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the embedder again; see `__getstate__`."""
        self.__init__(**state["__dict__"])  # type: ignore[misc]  # how every BaseComponent is restored
