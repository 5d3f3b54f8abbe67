"""What is in a store: documents by id, and deleting by id, filter, file or folder."""

# The host lets unknown keyword arguments pass; here they are refused.
# mypy: disable-error-code="override"
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_core.documents import Document
from mmrag.hosts import deletion

from langchain_mmrag._diverse_search import DiverseStoreSearch

if TYPE_CHECKING:
    from mmrag.index import Filter


class StoredDocuments(DiverseStoreSearch):
    """Documents of a store, found by id and deleted."""

    def delete(
        self,
        ids: str | Sequence[str] | None = None,
        *,
        filter: Filter | None = None,
        where: Filter | None = None,
        source: str | Path | None = None,
    ) -> bool:
        """Delete by id, by metadata, or by file; without arguments everything.

        A page comes back when its file is added again.

        Args:
            ids: a string is one id. Unknown ids are passed over.
            filter: as in `similarity_search`: ``{"file_name": "a.pdf"}``. With `ids`, both must hold.
            where: the same as `filter`, for those who type Chroma's name.
            source: a file (its path or name) or a folder, whose files' pages are deleted; see
                `DocumentQA.remove`.

        Returns:
            True.

        Raises:
            ValueError: `filter` and `where` both, or one of them with `source`; an empty filter; nothing in
                the store has the name `source`.

        Example:
            >>> store = MMRagVectorStore.from_texts(["a", "b"], metadatas=[{"n": 1}, {"n": 2}])
            >>> store.delete(filter={"n": 1})
            True
            >>> [document.page_content for document in store.similarity_search("a")]
            ['b']
        """
        named = [name for name, value in (("filter", filter), ("where", where), ("source", source)) if value]
        if len(named) > 1 or (ids is not None and source is not None):
            raise ValueError(
                f"delete takes one of filter, where and source, and ids with a filter alone, got {named}."
            )
        if source is not None:
            self.qa.remove(source)
        else:
            deletion.delete_matching(self.qa.index, ids, where if filter is None else filter)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents in the order of `ids`; missing ones are left out. A string is one id."""
        return self._documents(self.qa.index.get(deletion.id_list(ids)), None)
