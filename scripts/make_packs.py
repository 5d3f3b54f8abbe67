"""Draw packs of documents with their truth, ``tables``, ``forms``, ``alike`` and ``letters``, to measure by.

Usage: ``python scripts/make_packs.py OUT [--seed 17] [--only tables] [--every 5]``. Needs reportlab, PyMuPDF,
Pillow and numpy (the ``dev`` extra). The same seed gives the same bytes. The format is that of
``docs/evaluation-pack.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from packs import alike, forms, letters, tables, truth

PACKS = {"tables": tables, "forms": forms, "alike": alike, "letters": letters}
SEED = 17


def make(
    out: Path, seed: int = SEED, packs: tuple[str, ...] = tuple(PACKS), every: int = 1
) -> dict[str, list[truth.Drawing]]:
    """Write the packs below `out`: every n-th document of each. Returns what was drawn."""
    drawn = {}
    for name in packs:
        folder = out / name / "documents"
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(
                f"a pack is written to a new folder, {folder} has files. Name another, or delete it."
            )
        folder.mkdir(parents=True, exist_ok=True)
        drawings = [PACKS[name].make(seed, number) for number in range(0, len(PACKS[name].PLANS), every)]
        for drawing in drawings:
            (folder / drawing.name).write_bytes(drawing.data)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in truth.lines(drawings, name))
        (out / name / "queries.jsonl").write_text(text, encoding="utf-8")
        drawn[name] = drawings
    return drawn


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--seed", type=int, default=SEED, help="of all random draws (default: %(default)s)")
    parser.add_argument("--only", choices=sorted(PACKS), help="one pack")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="every N-th document (default: all)"
    )
    options = parser.parse_args()
    for name, drawings in make(
        options.out, options.seed, (options.only,) if options.only else tuple(PACKS), options.every
    ).items():
        queries = [query for drawing in drawings for query in drawing.queries]
        kinds = {kind: sum(q.kind == kind for q in queries) for kind in sorted({q.kind for q in queries})}
        scans = sum(bool(drawing.scanned) for drawing in drawings)
        count = f"{len(drawings)} documents, {scans} scanned; {len(queries)} questions"
        print(f"{options.out / name}: {count} {kinds}")


if __name__ == "__main__":
    main()
