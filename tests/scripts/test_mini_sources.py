"""Sources of mmrag-mini: every package has a licence that is free, and what has none is not taken."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tomllib", reason="scripts/mini/sources.py needs Python 3.11, which has tomllib")
import tomllib

MINI = Path(__file__).resolve().parents[2] / "scripts" / "mini"
spec = importlib.util.spec_from_file_location("mini_sources", MINI / "sources.py")
sources = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = sources
spec.loader.exec_module(sources)

LISTED = tomllib.loads((MINI / "sources.toml").read_text(encoding="utf-8"))
FREE = frozenset({"lppl", "lppl1.3", "cc-by-4"})
LICENCES = """Licenses for source package texlive-extra

one: lppl
texmf-dist/doc/latex/one/*
texmf-dist/doc/latex/shared/one.pdf
two: other-free
texmf-dist/doc/latex/two/*
texmf-dist/doc/latex/shared/*
three: lppl1.3 cc-by-4
texmf-dist/doc/generic/three/*
four:
texmf-dist/doc/generic/four/*
"""
needs_dpkg = pytest.mark.skipif(
    not shutil.which("dpkg-deb"), reason="dpkg-deb makes the packages of this test"
)


def test_every_package_of_the_list_has_a_licence_and_words_to_check_it_by():
    listed = sources.read_sources(LISTED)
    assert len(listed) > 90
    assert len({source.name for source in listed}) == len(listed)
    for source in listed:
        assert source.license
        assert all(source.stated)
        assert "non-free" not in source.license
        assert not source.exclude or source.note, f"{source.name}: say in `note` why files are left out"
    assert not {"other-free", "collection", "nosell", ""} & set(LISTED["free"])
    assert not {source.name for source in listed} & set(LISTED["left_out"])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"stated": ["x"]}, "needs `license` and `stated`"),
        ({"license": "MIT"}, "needs `license` and `stated`"),
        ({"license": "non-free", "stated": ["x"]}, "which is not free"),
    ],
)
def test_a_package_without_a_free_licence_is_refused(entry, message):
    with pytest.raises(ValueError, match=f"sources.toml: it .*{message}|sources.toml: it {message}"):
        sources.read_sources({"documents": {"it": entry}, "fonts": {}, "words": {}})


def test_an_unlisted_package_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["sources.py", str(tmp_path / "to"), "--only", "gcc-doc"])
    with pytest.raises(SystemExit) as stop:
        sources.main()
    assert stop.value.code == 2
    assert "not in sources.toml, so its licence is not known: gcc-doc" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("path", "licence"),
    [
        ("usr/share/doc/texlive-doc/latex/one/one.pdf", "lppl"),
        ("usr/share/doc/texlive-doc/latex/one/examples/deep/a.pdf.gz", "lppl"),
        ("usr/share/doc/texlive-doc/latex/two/two.pdf", "other-free"),
        ("usr/share/doc/texlive-doc/latex/shared/one.pdf", "lppl"),
        ("usr/share/doc/texlive-doc/latex/shared/else.pdf", "other-free"),
        ("usr/share/texlive/texmf-dist/doc/generic/three/a.pdf", "lppl1.3 cc-by-4"),
        ("usr/share/doc/texlive-doc/generic/four/a.pdf", ""),
        ("usr/share/doc/texlive-doc/latex/onemore/a.pdf", ""),
    ],
)
def test_a_file_has_its_own_licence_or_its_nearest_folder_s(path, licence):
    assert sources.Licences(LICENCES).of(path) == licence


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("lppl", True),
        ("lppl1.3 cc-by-4", True),
        ("lppl other-free", False),
        ("other-free", False),
        ("", False),
    ],
)
def test_a_licence_is_free_where_all_of_it_is(licence, free):
    assert sources.is_free(licence, FREE) is free


def packed(folder: Path, name: str, files: dict[str, bytes], section: str = "doc") -> Path:
    """A real .deb with these files."""
    tree = folder / name
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    (tree / "DEBIAN").mkdir()
    about = {"Package": name, "Version": "1.2-3", "Section": section, "Architecture": "all"}
    about |= {"Maintainer": "Nobody <nobody@example.org>", "Description": "a test"}
    (tree / "DEBIAN" / "control").write_text("".join(f"{key}: {value}\n" for key, value in about.items()))
    made = folder / f"{name}_1.2-3_all.deb"
    call = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(made)]
    subprocess.run(call, check=True, capture_output=True)
    return made


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Stands for the Debian archive: packages put in here are what `download` finds."""
    made: dict[str, Path] = {}
    asked: list[str] = []

    def download(name: str, work: Path) -> Path:
        asked.append(name)
        if name not in made:
            raise sources.SourceError("E: Unable to locate package")
        return Path(shutil.copy(made[name], work))

    def add(name: str, files: dict[str, bytes], section: str = "doc") -> None:
        made[name] = packed(tmp_path, name, files, section)

    monkeypatch.setattr(sources, "download", download)
    return add, made, asked


def source(name: str, **fields) -> sources.Source:
    return sources.Source(
        **{"name": name, "kind": "documents", "license": "MIT", "stated": ("License: MIT",), **fields}
    )


@needs_dpkg
def test_a_package_gives_its_documents_its_copyright_and_one_line(archive, tmp_path):
    add, made, asked = archive
    add(
        "guide",
        {
            "usr/share/doc/guide/copyright": b"Files: *\nLicense:\n  MIT\n",
            "usr/share/doc/guide/a.pdf": b"A",
            "usr/share/doc/guide/more/b.pdf.gz": gzip.compress(b"B"),
            "usr/share/doc/guide/article.pdf": b"of a journal",
            "usr/share/doc/guide/a.html": b"<p>",
            "usr/bin/guide": b"#!",
        },
    )
    to = tmp_path / "to"
    wanted = [source("guide", exclude=("art*.pdf",))]
    assert sources.fetch_all(wanted, to, FREE) == {}
    files = {str(path.relative_to(to)): path.read_bytes() for path in to.rglob("*") if path.is_file()}
    line = json.loads(files.pop("sources.jsonl"))
    assert files == {
        "pdf/guide/copyright": b"Files: *\nLicense:\n  MIT\n",
        "pdf/guide/doc/guide/a.pdf": b"A",
        "pdf/guide/doc/guide/more/b.pdf": b"B",
    }
    assert line["files"] == ["doc/guide/a.pdf", "doc/guide/more/b.pdf"]
    assert line["left_out"] == ["doc/guide/article.pdf"]
    assert (line["package"], line["version"], line["license"]) == ("guide", "1.2-3", "MIT")
    assert line["deb_sha256"] == hashlib.sha256(made["guide"].read_bytes()).hexdigest()
    assert sources.fetch_all(wanted, to, FREE) == {}
    assert asked == ["guide"]  # the second run fetches nothing


@needs_dpkg
def test_files_without_a_free_licence_of_their_own_are_left_out(archive, tmp_path):
    add, _, _ = archive
    stem = "usr/share/doc/texlive-doc"
    add(
        "tex",
        {
            "usr/share/doc/tex/copyright": b"License: MIT",
            "usr/share/doc/tex/Licenses.gz": gzip.compress(LICENCES.encode()),
            f"{stem}/latex/one/one.pdf": b"1",
            f"{stem}/latex/two/two.pdf": b"2",
            f"{stem}/generic/four/four.pdf": b"4",
            f"{stem}/generic/unheard/of.pdf": b"5",
        },
    )
    assert sources.fetch_all([source("tex", by_file=True)], tmp_path / "to", FREE) == {}
    line = json.loads((tmp_path / "to" / "sources.jsonl").read_text())
    assert line["licenses_by_file"] == {"lppl": 1}
    assert [Path(place).name for place in line["files"]] == ["one.pdf"]
    assert sorted(path.name for path in (tmp_path / "to").rglob("*.pdf")) == ["one.pdf"]


@needs_dpkg
def test_what_must_not_be_taken_is_named_and_leaves_nothing_while_the_rest_is_taken(archive, tmp_path):
    add, _, _ = archive
    document = {"usr/share/doc/{}/copyright": b"License: MIT", "usr/share/doc/{}/a.pdf": b"A"}

    def files(name: str, **other: bytes) -> dict[str, bytes]:
        return {path.format(name): content for path, content in document.items()} | other

    add("good", files("good"))
    add("elsewhere", files("elsewhere"), section="non-free/doc")
    add("changed", files("changed") | {"usr/share/doc/changed/copyright": b"License: CC-BY-NC-4.0"})
    add("silent", {"usr/share/doc/silent/a.pdf": b"A"})
    add("empty", {"usr/share/doc/empty/copyright": b"License: MIT"})
    names = ["elsewhere", "changed", "silent", "empty", "gone", "good"]
    failed = sources.fetch_all([source(name) for name in names], tmp_path / "to", FREE)
    assert list(failed) == names[:-1]
    assert "section is 'non-free/doc'" in failed["elsewhere"]
    assert "does not say 'License: MIT'" in failed["changed"]
    assert "no copyright file" in failed["silent"]
    assert "nothing that is wanted" in failed["empty"]
    assert "Unable to locate" in failed["gone"]
    assert [path.name for path in (tmp_path / "to" / "pdf").iterdir()] == ["good"]
    assert sources.taken(tmp_path / "to") == {"good"}


@needs_dpkg
def test_the_copyright_file_may_lie_in_another_package(archive, tmp_path):
    add, _, _ = archive
    add("zsh", {"usr/share/doc/zsh/a.pdf": b"A"})
    add("zsh-common", {"usr/share/doc/zsh-common/copyright": b"License: MIT"})
    assert sources.fetch_all([source("zsh", copyright_in="zsh-common")], tmp_path / "to", FREE) == {}
    assert (tmp_path / "to" / "pdf" / "zsh" / "copyright").read_bytes() == b"License: MIT"


def test_the_readme_has_the_table_that_the_command_prints():
    table = sources.table(sources.read_sources(LISTED), LISTED["left_out"])
    assert table.strip() in (MINI / "README.md").read_text(encoding="utf-8")
    for listed in sources.read_sources(LISTED):
        assert listed.name in table
