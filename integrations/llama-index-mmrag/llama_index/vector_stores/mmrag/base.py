"""`MMRagVectorStore`: an mmrag index behind `VectorStoreIndex`.

Decisions taken here:

* The store encodes nodes and questions itself, with the embedder of its index: LlamaIndex carries one
  vector per item, the index needs the nested matrix. A node's embedding is only checked for its width.
* ``default`` and ``hybrid`` are mmrag's own search, vectors and words fused (``alpha`` moves the weight:
  1 is vectors, 0 is words); ``text_search`` and ``sparse`` are words alone. A question embedding that is
  not the question's own (HyDE, an average) is searched with as it is, by vectors alone.
* Nodes come back as they were added; pages that `DocumentQA.add` put into the same index come as page
  nodes. An index on disk is saved with every call, so ``persist`` has nothing to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import Field, SecretStr

from llama_index.embeddings.mmrag import MMRagEmbedding
from llama_index.vector_stores.mmrag.nodes import NodeStore
from mmrag import Budget, DocumentQA, Embedder, load_embedder
from mmrag.hosts.embedders import Model, check_fingerprint, model_setting
from mmrag.hosts.inputs import budget_pair
from mmrag.index import Index, ServerIndex, shown_address


class MMRagVectorStore(NodeStore):
    """Nodes in an mmrag index: persistent, searched by nested vectors and by words.

    Args:
        path: folder of the index, created if it is not there, or address of a server
            (``postgresql://user@host/database``); None: in memory. A password in an address is used and not
            kept, so that the store is stored without it; one in PGPASSWORD is found again.
        persist_dir: the same as `path`, for those who type it.
        model: as in `MMRagEmbedding`.
        base_url: as in `MMRagEmbedding`.
        api_key: as in `MMRagEmbedding`.
        budget: ``(query, document)`` vectors used in a search; None: all.
        with_images: whether page nodes carry the path of their picture, drawn on first use.
        read_only: search only, while another process writes.
        qa: a `DocumentQA` to work on, instead of path and model.

    The index is opened on first use; `client` is the `DocumentQA` behind it.

    Raises:
        IndexMismatchError: (on first use) another model made the index.
        IndexLockedError: (on first use) another process writes to it.

    Example:
        >>> store = MMRagVectorStore()
        >>> ids = store.add([TextNode(id_="cat", text="Cats purr."), TextNode(id_="dog", text="Dogs bark.")])
        >>> store.query(VectorStoreQuery(query_str="Which animal barks?", similarity_top_k=1)).ids
        ['dog']
    """

    model: str | None = Field(default=None, description="Name or folder of the model; None: the shipped one.")
    base_url: str | None = Field(default=None, description="Server of embeddings.")
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    fingerprint: str | None = Field(default=None, description="Of the embedder this was first made with.")

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        persist_dir: str | Path | None = None,
        model: Model = None,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        budget: Budget | tuple[int, int] | None = None,
        with_images: bool = True,
        read_only: bool = False,
        qa: DocumentQA | None = None,
        fingerprint: str | None = None,
        stores_text: bool = True,
        is_embedding_query: bool = True,
        flat_metadata: bool = True,
    ) -> None:
        path = persist_dir if path is None else path
        if qa is not None and (path is not None or model is not None or base_url is not None):
            raise ValueError("a store is made of a qa or of path and model, got both. Leave the others out.")
        secret = SecretStr(api_key) if isinstance(api_key, str) else api_key
        if qa is not None:
            embedder, model = qa.embedder, qa.embedder
            path = qa.index.address if isinstance(qa.index, ServerIndex) else qa.path
            read_only = qa.index.read_only
        else:
            key = None if secret is None else secret.get_secret_value()
            embedder = load_embedder(model, base_url=base_url, api_key=key)
        check_fingerprint(embedder, fingerprint, "the vector store")
        fields: dict[str, Any] = {
            "path": None if path is None else shown_address(path),
            "model": model_setting(model),
            "base_url": base_url,
            "api_key": secret,
            "budget": budget_pair(budget),
            "with_images": with_images,
            "read_only": read_only,
            "fingerprint": embedder.fingerprint if base_url is None else None,  # a server is not called yet
            "stores_text": stores_text,
            "is_embedding_query": is_embedding_query,
            "flat_metadata": flat_metadata,
        }
        super().__init__(**fields)
        self._embedder = embedder
        self._location = None if path is None else str(path)
        self._qa = qa

    @classmethod
    def from_index(cls, index: Index, embedder: Embedder, **options: Any) -> MMRagVectorStore:
        """Return a store over any mmrag index; `options` as for the class."""
        return cls(qa=DocumentQA(index, embedder=embedder), **options)

    @classmethod
    def class_name(cls) -> str:
        """Return the name in serialised form."""
        return "MMRagVectorStore"

    @property
    def embed_model(self) -> MMRagEmbedding:
        """Return its model, for ``VectorStoreIndex.from_vector_store(store, store.embed_model)``."""
        return MMRagEmbedding(self._embedder)

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Save nothing: an index on disk is saved with every call.

        Raises:
            ValueError: the index is in memory.
        """
        if self.path is None:
            raise ValueError(
                "a store in memory cannot be persisted, got path=None. Make it with a folder: "
                "MMRagVectorStore('my-index')."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return where the index is and how to open it: no key, no open objects.

        Raises:
            TypeError: the index is in memory.
        """
        if self.path is None:
            raise TypeError("a store in memory cannot be pickled, got path=None. Give it a folder.")
        return {"__dict__": {name: value for name, value in self.__dict__.items() if name != "api_key"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the store again, unopened; see `__getstate__`."""
        self.__init__(**state["__dict__"])  # type: ignore[misc]  # how every BaseComponent is restored
