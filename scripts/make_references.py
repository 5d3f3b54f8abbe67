"""Make a folder with the libraries that models and metrics are compared with in tests, and mteb.

    python scripts/make_references.py [FOLDER]

FOLDER (``.references``) is put on PYTHONPATH beside the development environment: colpali-engine and
sentence-transformers want torchvision, which would change what transformers does in every other test. It
takes 520 MB (polars alone 180, which mteb imports) and about a minute; a second call finds it made and does
nothing. Versions of the five that are compared stand in ``constraints.txt``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from make_vllm import HOOK, PROJECT, run, step

PACKAGES = (
    "colpali-engine",
    "sentence-transformers",
    "torchvision",
    "mteb",
    "datasets",
    "dill",
    "multiprocess",
    "pandas",
    "python-dateutil",
    "six",
    "polars",
    "polars-runtime-32",
    "ir-measures",
    "pytrec-eval-terrier",
    "scipy",
    "scikit-learn",
    "joblib",
    "cloudpickle",
    "narwhals",
    "threadpoolctl",
)
"""Without their dependencies: torch, transformers and peft are those of the development environment.

So all that they import stands here, also what the development environment has by chance today."""


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / ".references"
    constraints = PROJECT / "constraints.txt"
    folder.mkdir(exist_ok=True)

    def install() -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps"]
        run([*pip, "--upgrade", "--target", folder, "--constraint", constraints, *PACKAGES])
        (folder / "sitecustomize.py").write_text(HOOK)  # Python imports it at start from PYTHONPATH

    step(folder / "install.stamp", [constraints.read_text(encoding="utf-8"), *PACKAGES, HOOK], install)
    return 0


if __name__ == "__main__":
    sys.exit(main())
