"""Evidence boxes of the questions, and the files they are written to.

Phrases are looked up in the sample itself, for the scan in the pages as typed before they became pictures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pymupdf

from samples import scan
from samples.questions import DEMO, DOC_TYPES, LOG, PACK, Evidence

PADDING = 3.0  # points around the words


class Places:
    """Looks phrases up in the sample files."""

    def __init__(self, documents: dict[str, bytes]) -> None:
        """Take the files by name; the scan is read from its layout."""
        readable = {**documents, LOG: scan.layout()}
        self._files = {name: pymupdf.open(stream=data, filetype="pdf") for name, data in readable.items()}

    def box(self, doc: str, evidence: Evidence) -> dict[str, Any]:
        """The evidence box as the pack's format has it: page, page_size, bbox in points."""
        page = self._files[doc][evidence.page]
        words = page.get_text("words")
        boxes = [
            found
            for phrase in evidence.phrases
            for found in find(words, phrase, f"{doc} page {evidence.page}")
        ]
        around = (
            min(box[0] for box in boxes) - PADDING,
            min(box[1] for box in boxes) - PADDING,
            max(box[2] for box in boxes) + PADDING,
            max(box[3] for box in boxes) + PADDING,
        )
        if doc == LOG:
            around = scan.turned(around, evidence.page)
        size = [round(page.rect.width, 2), round(page.rect.height, 2)]
        return {"page": evidence.page, "page_size": size, "bbox": [round(edge, 1) for edge in around]}


def find(words: Sequence[tuple[Any, ...]], phrase: str, where: str) -> list[tuple[float, ...]]:
    """Boxes of the first run of words that spells the phrase.

    Raises:
        ValueError: the words do not stand there in this order.
    """
    wanted = phrase.split()
    texts = [str(word[4]) for word in words]
    for start in range(len(texts) - len(wanted) + 1):
        if texts[start : start + len(wanted)] == wanted:
            return [tuple(word[:4]) for word in words[start : start + len(wanted)]]
    raise ValueError(f"evidence must stand on its page, {phrase!r} is not on {where}. Correct the phrase.")


def pack_lines(places: Places) -> list[dict[str, Any]]:
    """The example pack's queries."""
    lines = []
    for number, asked in enumerate(PACK, 1):
        answerable = bool(asked.evidence)
        lines.append(
            {
                "id": f"sample-{number:04d}",
                "question": asked.question,
                "answers": list(asked.answers),
                "answer_format": asked.answer_format,
                "answerable": answerable,
                "doc": asked.doc,
                "evidence_pages": sorted({evidence.page for evidence in asked.evidence}),
                "evidence_types": [asked.kind] if answerable else [],
                "evidence_boxes": [places.box(asked.doc, evidence) for evidence in asked.evidence],
                "evidence_check": "computed from the layout" if answerable else "",
                "image_only_evidence": answerable and asked.doc == LOG,
                "self_contained": True,
                "doc_type": DOC_TYPES[asked.doc],
                "source": "mmrag samples",
                "written_by": "project authors",
                "core": True,
            }
        )
    return lines


def demo_lines(places: Places) -> list[dict[str, Any]]:
    """The demo's questions in order."""
    return [
        {
            "id": f"demo-{number}",
            "kind": kind,
            "question": question,
            "answers": list(answers),
            "answerable": bool(answers),
            "evidence": [{"doc": doc, **places.box(doc, where)} for doc, where in evidence],
            "needs": needs,
        }
        for number, (kind, question, answers, evidence, needs) in enumerate(DEMO, 1)
    ]


def write(out: Path, documents: dict[str, bytes]) -> list[Path]:
    """Write ``questions.jsonl`` and ``pack/queries.jsonl`` and return their paths."""
    places = Places(documents)
    makers: tuple[tuple[Path, Callable[[Places], list[dict[str, Any]]]], ...] = (
        (out / "questions.jsonl", demo_lines),
        (out / "pack" / "queries.jsonl", pack_lines),
    )
    for path, maker in makers:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in maker(places))
        path.write_text(text, encoding="utf-8")
    return [path for path, _ in makers]
