"""The indexes that a server serves, by name, each opened once when it is first asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

from mmrag.forks import new_lock
from mmrag.pipeline import DocumentQA

DEFAULT_COLLECTION = "documents"

Location = TypeVar("Location")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class UnknownCollectionError(LookupError):
    """There is no collection of this name, or the caller may not see it."""


class Collections:
    """Named indexes. Safe to share between threads.

    Args:
        locations: where the index of each name is, as `open_index` takes it: a directory, say.
        open_index: opens one for the server, with whatever reranker and answerer it has.

    Raises:
        ValueError: a name is not of letters, digits, ``.``, ``_`` and ``-``, or there is none.
    """

    def __init__(
        self, locations: Mapping[str, Location], open_index: Callable[[Location], DocumentQA]
    ) -> None:
        if not locations:
            raise ValueError("a server must have an index at least, got none.")
        for name in locations:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    "a collection's name must be up to 64 letters, digits, '.', '_' and '-', beginning with "
                    f"a letter or digit, got {name!r}."
                )
        self._openers = {name: partial(open_index, location) for name, location in locations.items()}
        self._open: dict[str, DocumentQA] = {}
        self._lock = new_lock()

    def __iter__(self) -> Iterator[str]:
        """Yield the names in the order given."""
        return iter(self._openers)

    def get(self, name: str) -> DocumentQA:
        """Return a collection, opened at the first call.

        Raises:
            UnknownCollectionError: there is none of this name.
        """
        if name not in self._openers:
            raise UnknownCollectionError(f"there is no collection {name[:80]!r}.")
        with self._lock:
            if name not in self._open:
                self._open[name] = self._openers[name]()
            return self._open[name]

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            for qa in self._open.values():
                qa.close()
            self._open.clear()
