"""Build the three distributions, try them in an empty environment, write hashes and bill of materials.

    python scripts/release.py dist [--python PYTHON ...]

Into the folder: a wheel and an sdist of each, ``SHA256SUMS``, and ``mmrag.cdx.json`` (CycloneDX: what an
empty environment holds once all three are installed). Each PYTHON (default: this one) gets an empty
environment for the wheels with the newest hosts that they allow, and one with the oldest; this one gets a
third for the sdists. Whether the names are free is asked of
the configured index by pip, and an index that cannot be reached is said, not passed over. Nothing is
uploaded.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from check_install import USES
from make_oldest import PROJECTS
from make_vllm import PROJECT, run

NAMES = ("mmrag", *USES)
HOSTS = ("langchain-core", "llama-index-core")
SUMS = "SHA256SUMS"
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--python", action="append", help="an interpreter to install the wheels for; repeatable"
    )
    options = parser.parse_args()
    folder = options.folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(
            f"{folder} must be absent or empty, got files in it. Move them, or name another folder."
        )
    for project in PROJECTS:
        run([sys.executable, "-m", "build", "--outdir", folder, PROJECT / project])
    files = sorted(folder.iterdir())
    wheels = [path for path in files if path.suffix == ".whl"]
    if len(wheels) != len(NAMES) or len(files) != 2 * len(NAMES):
        raise SystemExit(f"{folder} must hold a wheel and an sdist of each of {NAMES}, got {files}.")
    for number, python in enumerate(options.python or [sys.executable]):
        check(python, wheels, bill=folder / "mmrag.cdx.json" if number == 0 else None)
        check(python, wheels, bill=None, pins=oldest_hosts())
    check(sys.executable, [path for path in files if path.suffix != ".whl"], bill=None)
    (folder / SUMS).write_text(sums(folder))
    for name in NAMES:
        print(f"{name}: {availability(name)}")
    return 0


def oldest_hosts() -> list[str]:
    """Return a requirement of each host's lowest version that the integrations allow."""
    texts = [(PROJECT / project / "pyproject.toml").read_text(encoding="utf-8") for project in PROJECTS]
    return [f"{host}=={_floor(host, texts)}" for host in HOSTS]


def _floor(host: str, texts: list[str]) -> str:
    floors = {floor for text in texts for floor in re.findall(rf'"{host}>=([\d.]+)', text)}
    if len(floors) != 1:
        raise SystemExit(f"one lowest version of {host} must stand in {PROJECTS}, got {sorted(floors)}.")
    return floors.pop()


def check(python: str, files: list[Path], *, bill: Path | None, pins: Sequence[str] = ()) -> None:
    """Install these files, beside what is pinned, into an empty environment; search with each integration."""
    with tempfile.TemporaryDirectory() as folder:
        run([python, "-m", "venv", folder])
        inner = Path(folder) / "bin" / "python"
        run([inner, *PIP, "install", *files, *pins])
        for code in USES.values():
            subprocess.run([inner, "-c", code], check=True, cwd=folder)
        run([inner, "-m", "pip", "--disable-pip-version-check", "check"])
        names = ", ".join([*(path.name for path in files), *pins])
        print(f"{python}: {names} installed, and found what was asked for.")
        if bill is not None:
            write_bill(inner, bill)


def write_bill(python: Path, target: Path) -> None:
    """Write what an environment holds, by a tool in an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        run([sys.executable, "-m", "venv", folder])
        run([Path(folder) / "bin" / "python", *PIP, "install", "cyclonedx-bom>=5"])
        tool = Path(folder) / "bin" / "cyclonedx-py"
        run([tool, "environment", "--output-reproducible", "--output-file", target, python])


def sums(folder: Path) -> str:
    """Lines of `sha256sum` for the files of a folder, so that `sha256sum --check` reads them."""
    paths = sorted(path for path in folder.iterdir() if path.name != SUMS)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)


def availability(name: str) -> str:
    """Say whether a name is free on the index that pip is set to."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *PIP, "download", "--no-deps", "--dest", folder, name]
        answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode == 0:
        return "TAKEN on the index that pip asks"
    if "connection" in answer.stderr.lower() or "retrying" in answer.stderr.lower():
        return "not known: the index was not reached"
    return "no distribution that pip could install on the index it asks (a name may be kept with no files)"


if __name__ == "__main__":
    sys.exit(main())
