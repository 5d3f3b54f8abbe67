"""Make an environment with the lowest versions that the three pyproject.toml files allow, a stage at a time.

    python scripts/make_oldest.py FOLDER STAGE

Each STAGE adds to what FOLDER (``.venv-oldest``) has, at the lowest versions that fit together, and
``make test-oldest`` runs its tests before the next one raises them:

* ``core``: the package with the extras whose packages its tests import, none of torch, and the test tools;
* ``hosts``: both integrations (the hosts' own test kits ask for a newer Chroma and httpx);
* ``torch``: models and training (transformers asks for newer tokenizers), on the torch of
  ``constraints.txt``, since its floor is a build of several GB with CUDA on PyPI.

uv resolves, since pip knows the highest versions only. It is installed into FOLDER; needs Python 3.11.
"""

from __future__ import annotations

import sys
import venv
from pathlib import Path

import tomllib
from make_vllm import PROJECT, run, step

STAGES = {
    "core": (".[ocr,pdfium,plot,ui,otel]",),
    "hosts": ("integrations/langchain-mmrag[test]", "integrations/llama-index-mmrag[dev]"),
    "torch": (".[torch,mllm,train]",),
}
TOOLS = (
    *("hypothesis", "onnx", "openinference-semantic-conventions", "opentelemetry-sdk"),
    *("pytest", "pytest-asyncio", "pytest-xdist", "reportlab"),
)
"""Of the extra ``dev``, what tests import; linters and builders may be any."""


def main() -> int:
    folder, stage = Path(sys.argv[1]), sys.argv[2]
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    ranges = [(PROJECT / project / "pyproject.toml").read_text(encoding="utf-8") for project in PROJECTS]
    step(folder / f"{stage}.stamp", [*ranges, Path(__file__).read_text()], lambda: install(python, stage))
    run([python, "-m", "uv", "pip", "freeze", "--python", python])
    return 0


PROJECTS = (".", "integrations/langchain-mmrag", "integrations/llama-index-mmrag")


def install(python: Path, stage: str) -> None:
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    run([*pip, "uv", *(["--constraint", PROJECT / "constraints.txt", "torch"] if stage == "torch" else [])])
    projects = [part for project in STAGES[stage] for part in ("--editable", f"{PROJECT / project}")]
    # Copies: the data that LlamaIndex brings are refused by nltk where a file has a second link.
    uv = [python, "-m", "uv", "pip", "install", "--python", python, "--link-mode", "copy"]
    lowest = [*uv, "--resolution", "lowest-direct"]
    run([*lowest, *projects, "--editable", PROJECT, *(tools() if stage == "core" else ())])


def tools() -> list[str]:
    """Requirements of the extra ``dev`` that tests import."""
    table = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dev = table["optional-dependencies"]["dev"]
    return [requirement for requirement in dev if requirement.split(">")[0] in TOOLS]


if __name__ == "__main__":
    sys.exit(main())
