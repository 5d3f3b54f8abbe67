"""Row 0 of every record in embedded Chroma: a search structure that can always be made again.

Everything that knows Chroma stands in this file: its distances become scores here, its telemetry is
off, it embeds nothing itself.

Chroma's own settings read the environment and the file ``.env`` of whatever directory the process stands
in, and some of them name a host to send vectors to or a module to import. Here they are passed as arguments,
and nothing is read.
"""

# ruff: noqa: ANN401  (Chroma is not typed)
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmrag.forks import ForkOwner, follow_forks, new_lock
from mmrag.index.directory import check_chroma_folder

logger = logging.getLogger(__name__)

COLLECTION = "records"
HNSW = {"space": "ip", "max_neighbors": 32, "ef_construction": 200, "ef_search": 512}
"""Inner product, so that scores are those of `mmrag.scoring`. A graph twice as dense as Chroma's
default (16, 100, 100), because later stages can only score what survives this one. Of 10,000 random
128-dim rows the best 256 are found to 0.86 by the default and to 0.997 by this, for 1.9 times the
build time (``benchmarks/index_homes.py --part recall --pages 10000``)."""

_PART = 1000  # vectors in memory at once when all are read

_T = TypeVar("_T")


class ChromaError(RuntimeError):
    """Chroma failed; what it holds can be made again."""


class ChromaVectors:
    """One collection in one directory.

    Args:
        directory: Chroma's own; created when `create` is set.
        owner: the index's own id, written into the collection and checked on open.
        create: make the collection, or insist on finding it.

    Raises:
        ChromaError: the directory is missing, damaged, or belongs to another index.
    """

    def __init__(self, directory: Path, owner: str, *, create: bool) -> None:
        if not create and not directory.is_dir():
            raise ChromaError(f"{directory} is missing")
        if not create and (problem := check_chroma_folder(directory)):
            raise ChromaError(problem)
        directory.mkdir(mode=0o700, exist_ok=True)
        self._lock = new_lock()
        _USER.note()
        self._client = _call_chroma(_open_client, directory)
        try:
            self._collection = _call_chroma(self._make if create else self._find, owner)
            self._max_batch = _call_chroma(self._client.get_max_batch_size)
        except ChromaError:
            self.close()
            raise

    def _make(self, owner: str) -> Any:
        return self._client.create_collection(
            COLLECTION, embedding_function=None, metadata={"mmrag_index": owner}, configuration={"hnsw": HNSW}
        )

    def _find(self, owner: str) -> Any:
        collection = self._client.get_collection(COLLECTION, embedding_function=None)
        reply = (collection.metadata or {}).get("mmrag_index")
        if reply != owner:
            raise ChromaError(f"its collection belongs to index {reply}, not to {owner}")
        return collection

    def upsert(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add or replace ``(n, dim)`` vectors by id, in parts that Chroma takes."""
        with self._lock:
            for start in range(0, len(ids), self._max_batch):
                part = slice(start, start + self._max_batch)
                _call_chroma(self._collection.upsert, ids=list(ids[part]), embeddings=vectors[part])

    def delete(self, ids: Sequence[str]) -> None:
        """Delete by id; ids that are not there are passed over."""
        with self._lock:
            for start in range(0, len(ids), self._max_batch):
                _call_chroma(self._collection.delete, ids=list(ids[start : start + self._max_batch]))

    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """Search about the best `k` by inner product, best first, as ``(id, score)``."""
        query = self._collection.query
        reply = _call_chroma(query, query_embeddings=vector[None], n_results=k, include=["distances"])
        # Chroma's "ip" distance is 1 - inner product
        return [(id, 1.0 - d) for id, d in zip(reply["ids"][0], reply["distances"][0], strict=True)]

    def rows(self) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Yield ids and their ``(n, dim)`` vectors, in parts, until all are given."""
        for start in range(0, self.count(), _PART):
            get = self._collection.get
            reply = _call_chroma(get, include=["embeddings"], limit=_PART, offset=start)
            yield list(reply["ids"]), np.asarray(reply["embeddings"], np.float32)

    def count(self) -> int:
        """Count the vectors."""
        return int(_call_chroma(self._collection.count))

    def close(self) -> None:
        """Release Chroma's files; older Chroma keeps them until the process ends."""
        close = getattr(self._client, "close", None)
        if close is not None:
            try:
                _call_chroma(close)
            except ChromaError as error:
                logger.warning("Chroma did not close cleanly: %s", error)


class _User(ForkOwner):
    """The process that has used Chroma, whose threads a fork does not copy."""

    def __init__(self) -> None:
        self.is_here = self.is_parent = False
        follow_forks(self)

    def note(self) -> None:
        """Note that this process uses it from now on."""
        self.is_here = True

    def after_fork(self, *, in_child: bool) -> None:
        """Note in a child whose work Chroma's is."""
        if in_child:
            self.is_here, self.is_parent = False, self.is_here or self.is_parent


_USER = _User()


def is_lost_by_fork() -> bool:
    """Return whether this process was forked from one that used Chroma: every call would wait for ever."""
    return _USER.is_parent


def _open_client(directory: Path) -> Any:
    """Open Chroma in a directory; importing it already reads ``.env``, and fails where that is malformed."""
    import chromadb

    return chromadb.PersistentClient(
        str(directory), settings=_settings_class()(anonymized_telemetry=False, allow_reset=False)
    )


@cache
def _settings_class() -> type[Any]:
    """Return Chroma's settings as a class that takes arguments and defaults, and reads nothing."""
    from chromadb.config import Settings

    class ArgumentSettings(Settings):  # type: ignore[misc]  # Chroma is not typed
        model_config: ClassVar[dict[str, Any]] = {**Settings.model_config, "env_file": None}

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[Any], init_settings: Any, *sources: Any, **named_sources: Any
        ) -> tuple[Any, ...]:
            return (init_settings,)

    return ArgumentSettings


def _call_chroma(call: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
    """Call Chroma; whatever it throws becomes `ChromaError`, a panic of its Rust core too."""
    try:
        return call(*args, **kwargs)
    except (ChromaError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # pyo3's PanicException is no Exception
        raise ChromaError(f"{type(error).__name__}: {error}") from error
