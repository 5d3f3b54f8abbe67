"""What a host found, as a ranking of the core, and what a reranker said of it, as the host's metadata.

Both integrations rerank this way, so it stands here once. Decisions taken here:

* A host's item is judged by its text and, where pictures are shown, by its picture: a file, a ``data:``
  URI, bytes, or a PIL image. Nothing is downloaded; an item whose picture has an address on the network
  is judged by its text, and the log says so.
* An item that came from a document of ours (``doc_id``, ``page`` and ``file_path`` in its metadata, and
  the file is still the same) keeps that page's identity, so traces written at index time are found
  again; without a picture of its own the page is drawn from the file.
* The order given is the prior order, and ties keep it. Where an item has no score, none counts: the
  verdicts alone order then, whatever ``alpha`` is. (A place made into a score would weigh as much as one.)
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mmrag.images import load_image, with_page_renderer
from mmrag.rerank.protocol import Reranker
from mmrag.types import Candidate, Page, Query, Ranking, Record, Scalar, Source

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.documents import DocumentReader

logger = logging.getLogger(__name__)

PLACE = "_place"
"""Metadata key of a record: its item's position."""

SETTINGS = (
    "model",
    "think_tokens",
    "instruction",
    "images",
    "text",
    "image_pixels",
    "prompts",
    "traces",
    "cache",
    "on_error",
    "timeout",
    "max_retries",
    "max_concurrency",
    "extra",
)
"""Settings of `mmrag.rerank.ThinkReranker` that both hosts' classes pass on as they are."""

_DOCUMENT_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class HostItem:
    """One thing that a host found.

    Attributes:
        text: what it says; may be empty where it has a picture.
        image: a path, ``file:`` or ``data:`` URI, bytes, or PIL image; None without one.
        score: the score it was found with, larger is better; None where the host gives none.
        id: the host's own; None where it has none.
        metadata: the host's; only ``doc_id``, ``page``, ``page_label``, ``file_path`` and
            ``retrieval_score`` are looked at.
    """

    text: str = ""
    image: str | os.PathLike[str] | bytes | io.BytesIO | Image | None = None
    score: float | None = None
    id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PicturedPage(Page):
    """A page whose picture lies in a file of its own.

    Attributes:
        picture: that file; None where the page is drawn from its document.
    """

    picture: str | None = None


def ranking_of(query: Query, items: Sequence[HostItem], *, pictures: bool = True) -> Ranking:
    """A ranking of a host's items, in their order; `place_of` leads back.

    Args:
        query: what was asked.
        items: best first.
        pictures: whether the reranker looks at pictures; without, none is opened.

    Raises:
        FileNotFoundError: a picture is not there, and no page to draw it from.
        DocumentError: a picture given as data cannot be read.
    """
    scores = [item.score for item in items]
    known = [float(score) for score in scores if score is not None]
    if len(known) < len(items):
        known = [0.0] * len(items)
    names = _unique([item.id or f"item {place}" for place, item in enumerate(items)])
    candidates = []
    for place, (name, item, score) in enumerate(zip(names, items, known, strict=True)):
        page = _page(name, item) if pictures else None
        record = Record(id=name, matrix=None, text=item.text, metadata={PLACE: place}, page=page)
        candidates.append(Candidate(record, score, place + 1))
    return Ranking(query, tuple(candidates))


def place_of(candidate: Candidate) -> int:
    """Which of the items given to `ranking_of` this is."""
    return int(candidate.record.metadata[PLACE])  # type: ignore[arg-type]


def judgement(ranking: Ranking, candidate: Candidate, item: HostItem, *, thought: bool) -> dict[str, Scalar]:
    """What a reranker said of an item, as flat metadata.

    Args:
        ranking: as the reranker gave it back.
        candidate: one of it.
        item: what the candidate was made of.
        thought: whether the model's thought is told, too.

    Returns:
        ``relevance_score`` (what orders now) and ``retrieval_score`` (the one in the item's metadata, else
        its score; none where it has neither). Where there is something to tell: ``rerank_note``,
        ``thought``, and ``bbox`` (evidence, as JSON). A ranking that was kept as it was has ``reranked``
        False and ``why_not``, and scores as before.
    """
    said: dict[str, Scalar] = {}
    retrieved = item.metadata.get("retrieval_score", item.score)  # an earlier reranker has kept it there
    if retrieved is not None:
        said["retrieval_score"] = float(retrieved)
    if not ranking.reranked:
        if item.score is not None:
            said["relevance_score"] = float(item.score)
        return {**said, "reranked": False, "why_not": ranking.why_not or "the prior order was kept"}
    said["relevance_score"] = candidate.score
    verdict = candidate.verdict
    if verdict is not None:
        if verdict.note:
            said["rerank_note"] = verdict.note
        if thought and verdict.thought:
            said["thought"] = verdict.thought
        if verdict.evidence and "bbox" not in item.metadata:  # what an answer quotes is more exact
            said["bbox"] = json.dumps([list(box) for box in verdict.evidence])
    return said


# ------------------------------------------------------------------------------------------ reranker


def host_reranker(
    base_url: str | None = None,
    *,
    mode: str | None = None,
    alpha: float | None = None,
    render: PageDrawer | None = None,
    **settings: Any,  # noqa: ANN401  those of ThinkReranker, which checks them
) -> Reranker:
    """The reranker that a host's user means.

    Args:
        base_url: a server; None: the cross-encoder in process.
        mode: see `mmrag.rerank.ThinkReranker`; None: ``"pointwise"``, or ``"local"`` without a server.
        alpha: the retrieval score's share; None: the mode's own, 0.5 for ``"local"`` and else 0.
        render: draws pages.
        settings: of `ThinkReranker`; ``"local"`` takes none that a server or a model that sees would need.

    Raises:
        ValueError: a setting out of its range, or one that the mode does not have.
    """
    if mode is None:
        mode = "local" if base_url is None else "pointwise"
    if mode == "local":
        from mmrag.rerank.local import LocalReranker

        _refuse_for_local({"base_url": base_url, **settings})
        # A host has cut its list already: what it hands over is to be judged, all of it.
        return LocalReranker(alpha=0.5 if alpha is None else alpha, depth=100_000)
    if base_url is None:
        raise ValueError(
            f"mode={mode!r} must have the server's base_url, got None. Start one with: mmrag serve MODEL."
        )
    from mmrag.rerank import ThinkReranker

    if render is not None and "traces" in settings:
        settings["traces"] = with_page_renderer(settings["traces"], render)
    return ThinkReranker(
        base_url, mode=mode, alpha=0.0 if alpha is None else alpha, render=render, **settings
    )


def sees(reranker: Reranker) -> bool:
    """Whether a reranker may look at pictures, so that they have to be found.

    `ThinkReranker` says it in its settings and the local one reads text; another one may.
    """
    from mmrag.rerank.local import LocalReranker

    if isinstance(reranker, LocalReranker):
        return False
    return bool(getattr(getattr(reranker, "settings", None), "images", True))


def ready_reranker(reranker: object, render: PageDrawer, given: Sequence[str]) -> Reranker:
    """A reranker that a host's user has made, or a copy of it that can draw pages where it could not.

    Args:
        reranker: anything with ``rerank`` and ``arerank``.
        render: draws pages.
        given: names of settings that were given beside it.

    Raises:
        ValueError: it is no reranker, or there are such settings.
    """
    if given:
        raise ValueError(f"a ready reranker takes no {' or '.join(given)}. Set them where it is made.")
    if not isinstance(reranker, Reranker):
        raise ValueError(f"reranker must have rerank and arerank, got {type(reranker).__name__}.")
    return with_page_renderer(reranker, render)


_NEEDS_A_SERVER = {
    "base_url": None,
    "model": None,
    "api_key": None,
    "think_tokens": 0,
    "instruction": None,
    "prompts": None,
    "traces": None,
    "cache": None,
    "extra": None,
}


def _refuse_for_local(settings: Mapping[str, Any]) -> None:
    given = [
        name
        for name, default in _NEEDS_A_SERVER.items()
        if name != "api_key" and settings.get(name, default) not in (default, {})
    ]
    if given:
        listed = ", ".join(f"{name}={settings[name]!r}" for name in given)
        raise ValueError(
            f"mode='local' reads text in this process and takes no {' or '.join(given)}, got {listed}. "
            "Leave it out, or name a server (base_url) and another mode."
        )


# ---------------------------------------------------------------------------------------------- pages


class PageDrawer:
    """Draws the pages that `ranking_of` makes; workers that read documents start when needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader: DocumentReader | None = None

    def __call__(self, page: Page, max_pixels: int) -> Image:
        """The page's picture, of about `max_pixels` where it is drawn from a document.

        Raises:
            FileNotFoundError: its picture is gone.
            DocumentError: its picture cannot be read, or the document is gone, changed or cannot be drawn.
        """
        picture = page.picture if isinstance(page, PicturedPage) else None
        if picture is not None:
            return load_image(picture)
        with self._lock:
            if self._reader is None:
                from mmrag.documents import DocumentReader

                self._reader = DocumentReader()
            reader = self._reader
        return reader.render(page, max_pixels=max_pixels)

    def close(self) -> None:
        """End the workers, if any were started; the next page starts them again."""
        with self._lock:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


def _page(name: str, item: HostItem) -> Page | None:
    """The page behind an item; None where there is only text."""
    origin, path = _origin(item.metadata), _file(item.image)
    if path is not None and Path(path).is_file():
        return _made(name, item, origin or (_picture_source(path), 0), path)
    if origin is not None and (item.image is None or path is not None):
        return _made(name, item, origin)
    if path is not None:
        raise FileNotFoundError(
            f"the picture of {name!r} must be a file, got {path!r}. Retrieve again, or pass images=False."
        )
    if item.image is None:
        return None
    if isinstance(item.image, str) and item.image.startswith(("http://", "https://")):
        logger.warning("%s is judged by its text: its picture is not on this machine (%s)", name, item.image)
        return None
    image = load_image(item.image)
    digest = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()
    return replace(_made(name, item, origin or (Source(digest, "image", name), 0)), image=image)


def _made(name: str, item: HostItem, place: tuple[Source, int], picture: str | None = None) -> PicturedPage:
    source, number = place
    return PicturedPage(
        id=name,
        document_id=source.document_id,
        number=number,
        label=str(item.metadata.get("page_label", number + 1)),
        text=item.text,
        words=(),
        size=(0.0, 0.0),  # not known, and no reranker asks for it
        source=source,
        picture=picture,
    )


def _file(image: Any) -> str | None:  # noqa: ANN401  told apart here
    """The path that an image is given by; None where it is data or an address on the network."""
    if not isinstance(image, (str, os.PathLike)):
        return None
    text = os.fspath(image)
    if text.startswith(("data:", "http://", "https://")):
        return None
    if text.startswith("file:"):
        text = unquote(urlsplit(text).path)
    return str(Path(text).expanduser())


def _picture_source(path: str) -> Source:
    file = Path(path)
    return Source(hashlib.sha256(file.read_bytes()).hexdigest(), "image", file.name, str(file.absolute()))


def _origin(metadata: Mapping[str, Any]) -> tuple[Source, int] | None:
    """Document and page number that an item's metadata names, if the file is there and still the same."""
    document_id, number, path = (metadata.get(key) for key in ("doc_id", "page", "file_path"))
    if not isinstance(document_id, str) or not _DOCUMENT_ID.fullmatch(document_id):
        return None
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(path, str):
        return None
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):
        return None
    source = _source(path, stat.st_size, stat.st_mtime_ns)
    return (source, number) if source is not None and source.document_id == document_id else None


@lru_cache(maxsize=256)
def _source(path: str, size: int, changed: int) -> Source | None:
    """The file as a document, read once for as long as its size and time of change stay."""
    from mmrag.documents import InputDocument, discover

    found = next(iter(discover([path])), None)
    return found.source if isinstance(found, InputDocument) else None


def _unique(names: Sequence[str]) -> list[str]:
    """The names, a number behind those that came before."""
    seen: set[str] = set()
    unique = []
    for name in names:
        one, count = name, 1
        while one in seen:
            count += 1
            one = f"{name} ({count})"
        seen.add(one)
        unique.append(one)
    return unique
