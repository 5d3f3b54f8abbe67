"""Take published documents out of Debian packages: downloaded, checked, unpacked, never installed.

`sources.toml` lists the packages with version, SHA-256, licence and files. What mmrag-mini or anything else
here was trained on (``scripts/mini/sources.toml``) must not be among them.
"""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

SOURCES = Path(__file__).with_name("sources.toml")
TRAINED_ON = Path(__file__).parent.parent / "mini" / "sources.toml"
PARTS = ("public", "public-held")
"""The part that is looked at while working on the project, and the one that never is."""
MOST_DOCUMENTS, MOST_PAGES, MOST_BYTES = 30, 1_250, 75_000_000
"""Limits of a part."""


class SourceError(Exception):
    """A package that cannot be had, or is another one than the listed."""


@dataclass(frozen=True, slots=True)
class Source:
    """A package: its fields are told in sources.toml.

    Attributes:
        files: path in the package to (file name in the pack, what a question calls the document).
    """

    name: str
    part: str
    version: str
    sha256: str
    license: str
    files: Mapping[str, tuple[str, str]]


def read_sources(path: Path = SOURCES) -> list[Source]:
    """Return the packages that are listed.

    Raises:
        ValueError: a package was trained on, has an unknown part, or a file name is taken twice.
    """
    trained_on = tomllib.loads(TRAINED_ON.read_text(encoding="utf-8"))["documents"]
    sources, names = [], set[str]()
    for name, entry in tomllib.loads(path.read_text(encoding="utf-8"))["packages"].items():
        if name in trained_on:
            raise ValueError(
                f"a package must not be one that was trained on, got {name}. Take it off the list."
            )
        if entry["part"] not in PARTS:
            raise ValueError(f"part of {name} must be one of {', '.join(PARTS)}, got {entry['part']!r}.")
        files = {place: (called[0], called[1]) for place, called in entry["files"].items()}
        for called, _ in files.values():
            if called in names:
                raise ValueError(
                    f"a file name must be used once, got {called} again in {name}. Name another."
                )
            names.add(called)
        sources.append(Source(name, **{**entry, "files": files}))
    return sources


def fetch(source: Source, to: Path, *, any_version: bool = False) -> dict[str, Any]:
    """Put a package's listed files into `to`; returns what was taken, for ``sources.jsonl``.

    Raises:
        SourceError: the package cannot be downloaded, is another one, or lacks a file.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = _download(source, Path(folder), any_version=any_version)
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        if digest != source.sha256 and not any_version:
            raise SourceError(
                f"{package.name} must have SHA-256 {source.sha256}, got {digest}. The archive has another "
                "build: with --any-version it is taken, and the pack is another one."
            )
        contents = _members(package, set(source.files))
    if missing := set(source.files) - set(contents):
        raise SourceError(f"{package.name} must contain {', '.join(sorted(missing))}. Correct sources.toml.")
    for place, content in contents.items():
        (to / source.files[place][0]).write_bytes(content)
    return {
        "package": source.name,
        "file": package.name,
        "sha256": digest,
        "license": source.license,
        "documents": {called: place for place, (called, _) in source.files.items()},
    }


def _download(source: Source, folder: Path, *, any_version: bool) -> Path:
    """Download a .deb into an empty folder: the listed version, or the archive's."""
    wanted = [f"{source.name}={source.version}", *([source.name] if any_version else [])]
    lines: list[str] = []
    for name in wanted:
        call = ["apt-get", "download", "--quiet", name]
        run = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)
        if run.returncode == 0 and (found := sorted(folder.glob("*.deb"))):
            return found[-1]
        lines = run.stderr.strip().splitlines() or ["apt-get says nothing"]
    raise SourceError(
        f"apt-get must be able to download {wanted[-1]}: {lines[-1]} Run apt-get update on Debian bookworm, "
        "or take the archive's version with --any-version."
    )


def _members(package: Path, places: set[str]) -> dict[str, bytes]:
    """Return the content of these paths of a .deb; ``.gz`` files are unpacked."""
    contents: dict[str, bytes] = {}
    call = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(call, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            name = member.name.removeprefix("./")
            file = archive.extractfile(member) if name in places and member.isfile() else None
            if file is not None:
                data = file.read()
                contents[name] = gzip.decompress(data) if name.endswith(".gz") else data
    return contents


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)
