"""The checker of the site finds dead links, dead anchors and what is fetched from elsewhere, no more."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def faults():
    spec = importlib.util.spec_from_file_location("check_site", ROOT / "scripts" / "site" / "check_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.faults


def site(folder: Path, body: str) -> Path:
    (folder / "more").mkdir()
    (folder / "index.html").write_text(f"<html><body id='top'>{body}</body></html>")
    (folder / "more" / "index.html").write_text("<h1 id='a b'>More</h1><a href='../index.html#top'>up</a>")
    (folder / "404.html").write_text("<a href='/nowhere.html'>of a server</a>")
    return folder


def test_a_sound_site_has_no_fault(faults, tmp_path):
    body = "<a href='more/#a%20b'>x</a><a href='https://example.org'>y</a><a href='#top'>z</a>"
    body += "<a href='mailto:a@example.org'>m</a><img src='data:image/png;base64,AAAA'><link rel='canonical' href='https://e.org'>"
    assert faults(site(tmp_path, body)) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<a href='gone.html'>", "index.html leads to gone.html, which is not there"),
        ("<a href='more/index.html#c'>", "index.html leads to more/index.html#c, which has no such anchor"),
        ("<a href='#c'>", "index.html leads to #c, which has no such anchor"),
        ("<img src='gone.png'>", "index.html leads to gone.png, which is not there"),
        ("<script src='https://cdn.example/x.js'></script>", "index.html loads https://cdn.example/x.js"),
        ("<link rel='stylesheet' href='//cdn.example/x.css'>", "index.html loads //cdn.example/x.css"),
    ],
)
def test_a_fault_is_told_with_its_page(faults, tmp_path, body, said):
    assert faults(site(tmp_path, body)) == [said]


def test_a_style_that_fetches_is_told(faults, tmp_path):
    (site(tmp_path, "") / "x.css").write_text("@import 'https://fonts.example/f'; a{color:url(x.png)}")
    assert faults(tmp_path) == ["x.css loads https://fonts.example/f"]


def test_a_folder_without_a_page_is_no_site(faults, tmp_path):
    (line,) = faults(tmp_path)
    assert "must hold a site" in line
