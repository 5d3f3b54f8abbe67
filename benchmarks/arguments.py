"""The command line that benchmarks of a pack share, and the small pack and index that ``--small`` makes."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmrag import DocumentQA
from mmrag.documents import ReaderSettings
from mmrag.samples import sample_pack

SMALL = ("harbor-annual-report-2024.pdf", "insurance-claim-form.pdf")
"""Of the sample documents, those that a small index is of."""


def pack_arguments(doc: str | None, *, index: bool = True) -> argparse.ArgumentParser:
    """Return a command line of PACK, ``--index``, ``--json`` and ``--small``.

    Args:
        doc: of the script.
        index: the script needs an index of the pack's documents.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path, nargs="?", help="an evaluation pack; not with --small")
    if index:
        parser.add_argument("--index", type=Path, help="an index of the pack's documents; not with --small")
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    parser.add_argument("--small", action="store_true", help="two of the sample documents: does it run")
    return parser


def parse_pack(parser: argparse.ArgumentParser, given: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line of `pack_arguments`: PACK and its index, or ``--small``.

    Raises:
        SystemExit: something is missing; the message says what.
    """
    options = parser.parse_args(given)
    needed = {"PACK": options.pack, "--index": getattr(options, "index", Path())}
    if missing := [name for name, value in needed.items() if value is None and not options.small]:
        parser.error(f"{' and '.join(missing)} must be given, or --small, got neither")
    if options.small:
        options.pack = sample_pack()
    return options


@contextmanager
def index_of(options: argparse.Namespace, **settings: Any) -> Iterator[Path]:
    """Return the index that was named, or with ``--small`` one made here, which goes again.

    Args:
        options: of `parse_pack`.
        settings: of `mmrag.DocumentQA.open`, for the index that is made.
    """
    if not options.small:
        yield options.index
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "index"
        with DocumentQA.open(folder, reader=ReaderSettings(ocr="off"), **settings) as qa:
            qa.add([options.pack / "documents" / name for name in SMALL])
        yield folder


def write_json(options: argparse.Namespace, figures: Any) -> None:
    """Write the figures where ``--json`` says."""
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
