"""Make the sample PDFs, the demo's questions and the example pack that ship in ``mmrag/samples``.

Usage: ``python scripts/make_samples.py [--out DIR]``. Needs reportlab, PyMuPDF and Pillow (the ``dev``
extra). Running it twice gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from samples import annual_report, deck, energy, evidence, form, paper, scan

DOCUMENTS = (annual_report, energy, scan, paper, deck, form)


def make(out: Path) -> list[Path]:
    """Write every sample below `out` and return the paths."""
    folder = out / "pack" / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    documents = {module.NAME: module.build() for module in DOCUMENTS}
    for name, data in documents.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in documents] + evidence.write(out, documents)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    home = Path(__file__).resolve().parents[1] / "mmrag" / "samples"
    parser.add_argument("--out", type=Path, default=home, help="folder to write to (default: %(default)s)")
    for path in make(parser.parse_args().out):
        print(f"{path.stat().st_size:>9,} bytes  {path}")


if __name__ == "__main__":
    main()
