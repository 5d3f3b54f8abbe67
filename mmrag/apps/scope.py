"""What a request works on: the server's parts, and the collection and rights of its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar
from urllib.parse import quote

from fastapi import Depends, Request

from mmrag.apps.access import Access, Grant
from mmrag.apps.collections import Collections, UnknownCollectionError
from mmrag.apps.faults import ForbiddenError, NotFoundError, TooSlowError
from mmrag.apps.pictures import PictureCache
from mmrag.index.filters import Filter, matches
from mmrag.pipeline import DocumentQA
from mmrag.types import Page, Record

T = TypeVar("T")


@dataclass(frozen=True)
class ServerParts:
    """What a server is made of.

    Attributes:
        collections: its indexes.
        access: its keys.
        seconds: longest that a request may take.
        add_root: folder below which callers may name files of the server's machine; None for nowhere.
        pictures: pictures that were asked for before.
    """

    collections: Collections
    access: Access = field(default_factory=Access)
    seconds: float = 300.0
    add_root: Path | None = None
    pictures: PictureCache = field(default_factory=PictureCache)

    async def within_time(self, work: Awaitable[T]) -> T:
        """Await something, no longer than a request may take.

        Raises:
            TooSlowError: it took longer. A thread that works on it ends on its own.
        """
        try:
            return await asyncio.wait_for(work, self.seconds)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise TooSlowError(
                f"a request may take {self.seconds:g} seconds, and this one took longer."
            ) from error


@dataclass(frozen=True)
class Scope:
    """A collection as one caller sees it."""

    name: str
    qa: DocumentQA
    grant: Grant
    server: ServerParts

    @property
    def base(self) -> str:
        """Return the path of the collection in the API."""
        return f"/api/collections/{quote(self.name, safe='')}"

    @property
    def can_write(self) -> bool:
        """Return whether the caller may add and remove."""
        return self.grant.can_write and not self.qa.index.read_only

    def check_write(self) -> None:
        """Refuse a caller who may not add and remove.

        Raises:
            ForbiddenError: the key or the server is for reading alone.
        """
        if not self.can_write:
            reason = "this key is for reading" if not self.grant.can_write else "this server is for reading"
            raise ForbiddenError(f"{reason} alone.")

    def filter(self, filter: Filter | None = None) -> Filter | None:
        """Return a filter within what the caller may see."""
        return self.grant.narrow_filter(filter)

    def record(self, record_id: str) -> Record:
        """Return a record that the caller may see.

        Raises:
            NotFoundError: there is none of this id.
        """
        records = self.qa.index.get([record_id])
        if not records or not matches(self.grant.filter, records[0].metadata):
            raise NotFoundError(f"there is no page {record_id[:100]!r} in {self.name!r}.")
        return records[0]

    def page(self, record_id: str) -> Page:
        """Return the page of a record that the caller may see.

        Raises:
            NotFoundError: there is none, or it is a text without a page.
        """
        page = self.record(record_id).page
        if page is None:
            raise NotFoundError(f"{record_id[:100]!r} in {self.name!r} is a text without a page.")
        return page


def server_parts(request: Request) -> ServerParts:
    """Return the parts of the server that a request came to."""
    parts: ServerParts = request.app.state.parts
    return parts


def caller(request: Request) -> Grant:
    """Return what the sender of a request may do.

    Raises:
        UnknownKeyError: a key is needed.
    """
    return server_parts(request).access.grant(request.headers.get("authorization"))


def open_scope(collection: str, request: Request) -> Scope:
    """Return the collection that a request names, as its sender sees it.

    Raises:
        UnknownKeyError: a key is needed.
        UnknownCollectionError: there is no such collection for this sender.
    """
    parts = server_parts(request)
    grant = caller(request)
    if not grant.sees(collection):
        raise UnknownCollectionError(f"there is no collection {collection[:80]!r}.")
    return Scope(collection, parts.collections.get(collection), grant, parts)


ScopeOf: TypeAlias = Annotated[Scope, Depends(open_scope)]
GrantOf: TypeAlias = Annotated[Grant, Depends(caller)]
PartsOf: TypeAlias = Annotated[ServerParts, Depends(server_parts)]
