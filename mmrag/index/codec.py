"""How pages, metadata and entries are written into a file: plain bytes and JSON, never pickle."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from mmrag.anchors import Anchor
from mmrag.blocks import Block
from mmrag.index.base import DocumentEntry
from mmrag.types import HiddenText, Metadata, Page, Scalar, Source, Word


def encode_page(page: Page, record_id: str, record_text: str) -> str:
    """Encode a page as JSON, without its image and words; what the record says already is not repeated."""
    values: dict[str, Any] = {
        "document_id": page.document_id,
        "number": page.number,
        "label": page.label,
        "size": list(page.size),
        "source": asdict(page.source),
        "total_pages": page.total_pages,
        "text_source": page.text_source,
        "notes": list(page.notes),
    }
    if page.confidence is not None:
        values["confidence"] = round(page.confidence, 4)
    if page.hidden:
        values["hidden"] = [
            [hidden.text, [round(edge, 5) for edge in hidden.box], hidden.reason] for hidden in page.hidden
        ]
    if page.section:
        values["section"] = list(page.section)
    if page.anchors:
        values["anchors"] = [
            [anchor.kind, anchor.name, [round(edge, 4) for edge in anchor.box]] for anchor in page.anchors
        ]
    if page.id != record_id:
        values["id"] = page.id
    if page.text != record_text:
        values["text"] = page.text
    return json.dumps(values, separators=(",", ":"))


def decode_page(
    data: str,
    words: tuple[Word, ...],
    record_id: str,
    record_text: str,
    blocks: tuple[Block, ...] | None = None,
) -> Page:
    """Invert `encode_page`."""
    values = json.loads(data)
    width, height = values.pop("size")
    return Page(
        id=values.pop("id", record_id),
        text=values.pop("text", record_text),
        words=words,
        blocks=blocks,
        size=(width, height),
        source=Source(**values.pop("source")),
        notes=tuple(values.pop("notes")),
        hidden=tuple(HiddenText(text, tuple(box), reason) for text, box, reason in values.pop("hidden", ())),
        section=tuple(values.pop("section", ())),
        anchors=tuple(Anchor(kind, name, tuple(box)) for kind, name, box in values.pop("anchors", ())),
        **values,
    )


def encode_metadata(metadata: Metadata) -> str:
    """Encode metadata as JSON; a tuple becomes a list."""
    return json.dumps(dict(metadata), separators=(",", ":"))


def decode_metadata(data: str) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """Invert `encode_metadata`."""
    values = json.loads(data)
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def encode_entry(entry: DocumentEntry) -> str:
    """Encode a document's entry as JSON."""
    return json.dumps(asdict(entry), separators=(",", ":"))


def decode_entry(data: str) -> DocumentEntry:
    """Invert `encode_entry`."""
    values = json.loads(data)
    names = tuple(values.pop("names"))
    skipped = tuple((int(number), str(reason)) for number, reason in values.pop("skipped"))
    return DocumentEntry(names=names, skipped=skipped, **values)
