"""Fetch what mmrag-mini learns from: PDFs, fonts and a word list of Debian packages, each with its licence.

    python scripts/mini/sources.py TO                    # every package of sources.toml
    python scripts/mini/sources.py TO --only bash-doc    # some of them
    python scripts/mini/sources.py --table               # the licences as Markdown, nothing fetched

It needs a Debian bookworm with package lists (``apt-get update``), ``apt-get`` and ``dpkg-deb``, but no root;
Python 3.11. TO gets ``pdf/PACKAGE/``, ``fonts/PACKAGE/`` and ``words/PACKAGE/``, with the package's
``copyright`` file in each, and ``sources.jsonl``: one line a package with its version, the SHA-256 of the
.deb, the licence and the files. A package that has its line is not fetched again. A package whose
``copyright`` file does not say what sources.toml says it does, or whose section is not free, is not taken;
those, and packages that cannot be had, are named at the end, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import tomllib

SOURCES = Path(__file__).with_name("sources.toml")
KINDS = {"documents": "pdf", "fonts": "fonts", "words": "words"}
"""Tables of sources.toml, and the folder of TO that each fills."""

WANTED = {"documents": (".pdf", ".pdf.gz"), "fonts": (".ttf", ".otf"), "words": ("/american-english",)}
UNFREE = re.compile(r"(^|/)(non-free|contrib)", re.IGNORECASE)
TITLES = {"documents": "Documents", "fonts": "Fonts", "words": "Word list"}


class SourceError(Exception):
    """A package that cannot be taken, and why."""


@dataclass(frozen=True)
class Source:
    """One package of sources.toml; the fields are told there."""

    name: str
    kind: str
    license: str
    stated: tuple[str, ...]
    note: str = ""
    exclude: tuple[str, ...] = ()
    by_file: bool = False
    copyright_in: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("to", type=Path, nargs="?", help="folder to fill")
    parser.add_argument("--only", nargs="+", metavar="PACKAGE", help="these packages alone")
    parser.add_argument("--table", action="store_true", help="print the licences and fetch nothing")
    options = parser.parse_args()
    listed = tomllib.loads(SOURCES.read_text(encoding="utf-8"))
    sources = read_sources(listed)
    if options.table:
        print(table(sources, listed["left_out"]), end="")
        return 0
    if options.to is None:
        parser.error("name the folder to fill, or --table")
    unknown = set(options.only or ()) - {source.name for source in sources}
    if unknown:
        parser.error(f"not in sources.toml, so its licence is not known: {', '.join(sorted(unknown))}")
    wanted = [source for source in sources if not options.only or source.name in options.only]
    failed = fetch_all(wanted, options.to, frozenset(listed["free"]))
    for name, why in failed.items():
        print(f"not taken: {name}: {why}", file=sys.stderr)
    return 1 if failed else 0


def read_sources(listed: Mapping[str, Any]) -> list[Source]:
    """The packages of sources.toml in its order.

    Raises ValueError for a package without a licence, without words to check it by, or with a licence that is
    not free.
    """
    sources = []
    for kind in KINDS:
        for name, entry in listed[kind].items():
            lists = {key: tuple(entry.get(key, ())) for key in ("stated", "exclude")}
            source = Source(name=name, kind=kind, **{"license": "", **entry, **lists})
            if not source.license or not source.stated:
                raise ValueError(f"sources.toml: {name} needs `license` and `stated`: read its copyright")
            if re.search(r"non-?free", source.license, re.IGNORECASE):
                raise ValueError(f"sources.toml: {name} has licence {source.license!r}, which is not free")
            sources.append(source)
    return sources


def fetch_all(sources: Sequence[Source], to: Path, free: frozenset[str]) -> dict[str, str]:
    """Fetch what `to` lacks; the packages that could not be taken, each with the reason."""
    to.mkdir(parents=True, exist_ok=True)
    done = taken(to)
    failed: dict[str, str] = {}
    for source in sources:
        folder = to / KINDS[source.kind] / source.name
        if source.name in done and folder.is_dir():
            continue
        try:
            line = fetch(source, folder, free)
        except (SourceError, tarfile.TarError, subprocess.CalledProcessError) as error:
            failed[source.name] = str(error)
            continue
        with (to / "sources.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
        counts = f"{len(line['files'])} files, {len(line['left_out'])} left out"
        print(f"{source.name} {line['version']}: {counts}")
    return failed


def taken(to: Path) -> set[str]:
    """Names of the packages that `to` has already."""
    lines = to / "sources.jsonl"
    if not lines.exists():
        return set()
    return {json.loads(line)["package"] for line in lines.read_text(encoding="utf-8").splitlines()}


def fetch(source: Source, folder: Path, free: frozenset[str]) -> dict[str, Any]:
    """Put a package's wanted files into `folder`; its line for sources.jsonl.

    The folder appears whole or not at all. Raises SourceError where the package cannot be had or must not be
    taken.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        work = Path(name)
        package = download(source.name, work)
        about = {field: control(package, field) for field in ("Version", "Section")}
        if UNFREE.search(about["Section"]):
            raise SourceError(f"its section is {about['Section']!r}; only the archive's `main` is taken")
        fresh = work / "taken"
        places, licences = unpack(package, source, fresh)
        if source.copyright_in:
            other = download(source.copyright_in, work)
            (fresh / "copyright").write_bytes(copyright_of(other, source.copyright_in))
        check_stated(source, fresh / "copyright")
        kept, left_out, words = sort_out(source, places, licences, free)
        for place in left_out:
            (fresh / place).unlink()
        if not kept:
            raise SourceError("nothing that is wanted is in it; take it out of sources.toml")
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        shutil.rmtree(folder, ignore_errors=True)  # without a line: a run that broke off
        fresh.rename(folder)
    return {
        "package": source.name,
        "version": about["Version"],
        "kind": source.kind,
        "deb_sha256": digest,
        "license": source.license,
        "licenses_by_file": dict(words.most_common()),
        "files": kept,
        "left_out": left_out,
    }


def download(name: str, work: Path) -> Path:
    """The .deb of a package, downloaded into `work`."""
    call = ["apt-get", "download", "--quiet", name]
    made = subprocess.run(call, cwd=work, capture_output=True, text=True, check=False)
    found = sorted(work.glob(f"{name}_*.deb"))
    if made.returncode or not found:
        lines = made.stderr.strip().splitlines() or ["apt-get says nothing"]
        raise SourceError(f"`{' '.join(call)}` failed: {lines[-1]}")
    return found[-1]


def control(package: Path, field: str) -> str:
    """A field of a .deb's control file."""
    call = ["dpkg-deb", "--field", str(package), field]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()


def members(package: Path) -> Iterator[tuple[str, bytes]]:
    """Files of a .deb that any source may want, in the archive's order: ``("usr/share/...", content)``."""
    call = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(call, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            name = member.name.removeprefix("./")
            content = archive.extractfile(member) if name.endswith(ENDINGS) and member.isfile() else None
            if content is not None:
                yield name, content.read()


ENDINGS = ("/copyright", "/Licenses.gz", *(ending for endings in WANTED.values() for ending in endings))


def copyright_of(package: Path, name: str) -> bytes:
    """The ``copyright`` file of a .deb."""
    for path, content in members(package):
        if path == f"usr/share/doc/{name}/copyright":
            return content
    raise SourceError(f"{name} has no copyright file")


def unpack(package: Path, source: Source, to: Path) -> tuple[dict[str, str], str]:
    """Write a package's wanted files below `to`.

    Returns where each lies under `to` with its path in the package, and the text of its list of licences by
    file (empty where it has none).
    """
    about = f"usr/share/doc/{source.name}"
    places: dict[str, str] = {}
    licences = ""
    to.mkdir()
    for path, content in members(package):
        if path == f"{about}/copyright":
            (to / "copyright").write_bytes(content)
        elif path == f"{about}/Licenses.gz":
            licences = gzip.decompress(content).decode("utf-8", "replace")
        elif path.endswith(WANTED[source.kind]):
            place = path.removeprefix("usr/share/").removesuffix(".gz")
            (to / place).parent.mkdir(parents=True, exist_ok=True)
            (to / place).write_bytes(gzip.decompress(content) if path.endswith(".gz") else content)
            places[place] = path
    return places, licences


def check_stated(source: Source, file: Path) -> None:
    """Raise SourceError unless a ``copyright`` file says all that sources.toml relies on."""
    if not file.exists():
        raise SourceError("it has no copyright file; name the package that has it as `copyright_in`")
    text = " ".join(file.read_text(encoding="utf-8", errors="replace").split())
    for words in source.stated:
        if " ".join(words.split()) not in text:
            raise SourceError(f"its copyright file does not say {words!r}; read it and correct sources.toml")


def sort_out(
    source: Source, places: Mapping[str, str], licences: str, free: frozenset[str]
) -> tuple[list[str], list[str], Counter[str]]:
    """Divide a package's files: the kept, the left out, and how many of the kept are under which licence."""
    if source.by_file and not licences:
        raise SourceError("it has no list of licences by file (Licenses.gz); sources.toml says `by_file`")
    listed = Licences(licences)
    kept, left_out = [], []
    words: Counter[str] = Counter()
    for place, path in sorted(places.items()):
        named = any(fnmatchcase(Path(place).name, pattern) for pattern in source.exclude)
        licence = listed.of(path) if source.by_file else ""
        if named or (source.by_file and not is_free(licence, free)):
            left_out.append(place)
            continue
        kept.append(place)
        words.update([licence] if licence else [])
    return kept, left_out, words


def is_free(licence: str, free: frozenset[str]) -> bool:
    """Whether a licence of TeX Live's list is there and each of its words, blanks between, is in `free`."""
    words = licence.split()
    return bool(words) and free.issuperset(words)


class Licences:
    """TeX Live's licences by file: a head line ``part: licence``, then the part's files and folders."""

    def __init__(self, text: str) -> None:
        self._of: dict[str, str] = {}
        licence = ""
        for line in text.splitlines():
            if line.startswith("texmf-dist/"):
                self._of[line.removeprefix("texmf-dist/").removesuffix("/*")] = licence
            elif ":" in line:
                licence = line.split(":", 1)[1].strip()

    def of(self, path: str) -> str:
        """The licence of a path in the package: the file's own or its nearest folder's; empty if unknown."""
        at = path.removesuffix(".gz")
        for stem, own in (("usr/share/doc/texlive-doc/", "doc/"), ("usr/share/texlive/texmf-dist/", "")):
            if at.startswith(stem):
                at = own + at.removeprefix(stem)
        while at not in self._of and "/" in at:
            at = at.rsplit("/", 1)[0]
        return self._of.get(at, "")


def table(sources: Sequence[Source], left_out: Mapping[str, str]) -> str:
    """The licences as Markdown: one table a kind, packages under one licence with one note in one row."""
    parts = []
    for kind, title in TITLES.items():
        rows: dict[tuple[str, str], list[str]] = {}
        for source in sources:
            if source.kind == kind:
                rows.setdefault((source.license, source.note), []).append(source.name)
        parts.append(f"{title}:\n\n| licence | packages | note |\n|---|---|---|\n")
        parts += [f"| {licence} | {', '.join(names)} | {note} |\n" for (licence, note), names in rows.items()]
        parts.append("\n")
    parts.append("Looked at and not used:\n\n| packages | why |\n|---|---|\n")
    parts += [f"| {names} | {why} |\n" for names, why in left_out.items()]
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main())
