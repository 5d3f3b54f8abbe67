"""Make the public pack: published documents of Debian packages, and questions made of their pages.

    python scripts/make_public_pack.py OUT                     # OUT/public and OUT/public-held
    python scripts/make_public_pack.py OUT --ask http://127.0.0.1:8000       # and questions by a model
    mmrag index OUT/public/documents --index public-index && mmrag evaluate OUT/public --index public-index

It needs a Debian bookworm with package lists (``apt-get update``) and ``dpkg-deb``, but no root: packages are
downloaded and unpacked, never installed. Which, with versions, checksums and licences, stands in
``scripts/public/sources.toml``; nothing here was trained on them. ``public`` is looked at while working on
the project, ``public-held`` never is: it is measured and nothing else. Questions are made (``written_by``
says by what, ``kind`` by which template); the same packages and seed give the same lines. What a model writes
is kept where the same model, shown the page, gives the same answer again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from public import documents as source_documents
from public.documents import (
    MOST_BYTES,
    MOST_DOCUMENTS,
    MOST_PAGES,
    PARTS,
    SourceError,
    fetch,
    read_sources,
    say,
)
from public.pages import Document, read
from public.templates import KINDS, Draft, drafts, unanswerable

SEED = 17
KEYWORDS = 2
"""Questions of a document that are bare words, at most."""
QUESTIONS = 14
"""Questions of a document by templates, at most; a short one has fewer."""
UNANSWERABLE = 16


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--seed", type=int, default=SEED, help="of all draws (default: %(default)s)")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--ask", metavar="URL", help="a served model that writes questions, too")
    parser.add_argument(
        "--asked-pages", type=int, default=60, help="pages a part that it sees (default: %(default)s)"
    )
    parser.add_argument(
        "--any-version", action="store_true", help="take other builds of the packages than the listed"
    )
    options = parser.parse_args()
    for part in (options.only,) if options.only else PARTS:
        try:
            fetched = take_documents(part, options.out / part, any_version=options.any_version)
        except SourceError as error:
            print(error, file=sys.stderr)
            return 1
        lines = question_lines(fetched, options.seed)
        if options.ask:
            from public.asking import asked_lines

            lines += asked_lines(options.out / part, fetched, options.ask, options.asked_pages, options.seed)
        write_lines(options.out / part / "queries.jsonl", lines)
        print(f"{options.out / part}: {summary(fetched, lines)}")
    return 0


def take_documents(part: str, folder: Path, *, any_version: bool = False) -> list[Document]:
    """Fill ``folder/documents`` with a part's files, as far as they are not there yet, and read them.

    Raises:
        SourceError: a package cannot be had, or the documents are beyond the limits.
    """
    target = folder / "documents"
    target.mkdir(parents=True, exist_ok=True)
    sources = [source for source in read_sources() if source.part == part]
    taken = {}
    lines = folder / "sources.jsonl"
    if lines.is_file():
        taken = {
            line["package"]: line for line in map(json.loads, lines.read_text(encoding="utf-8").splitlines())
        }
    found = []
    for source in sources:
        if source.name not in taken:
            say(f"{part}: {source.name} {source.version}")
            taken[source.name] = fetch(source, target, any_version=any_version)
            write_lines(lines, [taken[name.name] for name in sources if name.name in taken])
        found += [read(target / file, title) for file, title in source.files.values()]
    bytes_ = sum(path.stat().st_size for path in target.iterdir())
    pages = sum(len(document.pages) for document in found)
    if len(found) > MOST_DOCUMENTS or pages > MOST_PAGES or bytes_ > MOST_BYTES:
        raise SourceError(
            f"a pack must have at most {MOST_DOCUMENTS} documents, {MOST_PAGES} pages, {MOST_BYTES} bytes, "
            f"got {len(found)}, {pages}, {bytes_}. Take packages off {source_documents.SOURCES.name}."
        )
    return found


def question_lines(found: Sequence[Document], seed: int = SEED) -> list[dict[str, Any]]:
    """Return the lines of queries.jsonl: kinds take turns in each document, each in a random order."""
    chosen: list[tuple[Document, Draft]] = []
    for document in found:
        rng = random.Random(f"{seed}:{document.file}")
        by_kind: dict[str, list[Draft]] = {kind: [] for kind in KINDS}
        for draft in drafts(document, rng):
            by_kind[draft.kind].append(draft)
        wanted = min(QUESTIONS, max(2, len(document.pages) // 4))
        by_kind["keywords"] = rng.sample(by_kind["keywords"], min(KEYWORDS, len(by_kind["keywords"])))
        chosen += [(document, draft) for draft in _take_turns(list(by_kind.values()), wanted, rng)]
    again = Counter(draft.question.casefold() for _, draft in chosen)
    chosen = [(document, draft) for document, draft in chosen if again[draft.question.casefold()] == 1]
    rng = random.Random(f"{seed}:unanswerable")
    empty = list(unanswerable(chosen, rng))
    chosen += rng.sample(empty, min(UNANSWERABLE, len(empty)))
    return [_line(document, draft, number) for number, (document, draft) in enumerate(chosen)]


def _take_turns(kinds: Sequence[Sequence[Draft]], wanted: int, rng: random.Random) -> list[Draft]:
    """Return drafts of different pages, the kinds taking turns."""
    orders = [rng.sample(list(kind), len(kind)) for kind in kinds]
    taken: list[Draft] = []
    pages: set[int] = set()
    while len(taken) < wanted and any(orders):
        for order in orders:
            while order and order[-1].page in pages:
                order.pop()
            if order and len(taken) < wanted:
                taken.append(order.pop())
                pages.add(taken[-1].page)
    return taken


def _line(document: Document, draft: Draft, number: int) -> dict[str, Any]:
    answerable = draft.page >= 0
    line: dict[str, Any] = {
        "id": f"{document.file.removesuffix('.pdf')}-{draft.kind}-{draft.page if answerable else number}",
        "question": draft.question,
        "doc": document.file,
        "answerable": answerable,
        "evidence_pages": [draft.page] if answerable else [],
        "answers": list(draft.answers),
        "answer_format": "Str"
        if draft.kind == "default" and answerable
        else "Free"
        if answerable
        else "None",
        "kind": draft.kind,
        "source": "made by template",
        "written_by": "template",
    }
    if draft.boxes and answerable:
        size = document.pages[draft.page].size
        line["evidence_boxes"] = [
            {
                "page": draft.page,
                "page_size": [round(side, 1) for side in size],
                "bbox": [round(x, 1) for x in box],
            }
            for box in draft.boxes
        ]
    return line


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write JSON lines."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def summary(found: Sequence[Document], lines: Sequence[dict[str, Any]]) -> str:
    """Return how much there is, in words."""
    kinds = Counter(line["kind"] for line in lines)
    pages = sum(len(document.pages) for document in found)
    return f"{len(found)} documents, {pages} pages, {len(lines)} questions {dict(sorted(kinds.items()))}"


if __name__ == "__main__":
    sys.exit(main())
