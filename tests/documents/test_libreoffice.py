"""LibreOffice as a printer: no network, no files of the machine; limits of time; several at once."""

from __future__ import annotations

import io
import os
import subprocess
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.sax.saxutils import escape

import pymupdf
import pytest

from mmrag import ReaderSettings
from mmrag.documents import DocumentReader, discover
from mmrag.documents.conversion import libreoffice
from mmrag.documents.conversion.libreoffice import LibreOffice
from mmrag.errors import DocumentError

from ..patience import PATIENCE, wait_until
from . import office_files

SOFFICE = libreoffice.find()
needs_office = pytest.mark.skipif(
    SOFFICE is None, reason="LibreOffice is not here: make test-office installs it"
)


def text_of(pdf: bytes) -> str:
    with pymupdf.open("pdf", pdf) as document:
        return "\n".join(page.get_text() for page in document)


@pytest.fixture
def office():
    return LibreOffice(SOFFICE, seconds=60, memory_mb=4096)


@pytest.fixture
def server():
    """A server that notes what is asked of it, and its address."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"fetched")

        do_HEAD = do_OPTIONS = do_PROPFIND = do_GET  # noqa: N815

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", requests
        http.shutdown()


FRAME = '<draw:frame svg:width="3cm" svg:height="2cm" text:anchor-type="as-char">{}</draw:frame>'
SECTION = '<text:section text:name="s"><text:section-source {}/><text:p>kept</text:p></text:section>'
LINK = 'xlink:href="{}" xlink:type="simple" xlink:show="embed" xlink:actuate="onLoad"'


@needs_office
@pytest.mark.parametrize("part", ["picture", "section", "docx picture"])
def test_nothing_is_fetched_from_a_server(part, office, server):
    address, requests = server
    if part == "docx picture":
        blip = (
            "<w:p><w:r><w:t>kept</w:t></w:r><w:r><w:drawing>"
            '<wp:inline xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing">'
            '<wp:extent cx="900000" cy="900000"/><wp:docPr id="1" name="p"/>'
            '<a:graphic xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main">'
            '<a:graphicData uri="http://schemas.openxmlformats.org/drawingml/2006/picture">'
            '<pic:pic xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture">'
            '<pic:nvPicPr><pic:cNvPr id="1" name="p"/><pic:cNvPicPr/></pic:nvPicPr><pic:blipFill>'
            f'<a:blip xmlns:r="{office_files.R}" r:link="x"/></pic:blipFill><pic:spPr/></pic:pic>'
            "</a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
        )
        target = f'Target="{address}/x.png" TargetMode="External"'
        relation = f'<Relationship Id="x" Type="{office_files.R}/image" {target}/>'
        data, kind = office_files.docx(blip, relation), "docx"
    else:
        link = LINK.format(f"{address}/x")
        body = {
            "picture": f"<text:p>kept{FRAME.format(f'<draw:image {link}/>')}</text:p>",
            "section": SECTION.format(link),
        }[part]
        data, kind = office_files.open_document("text", f"<office:text>{body}</office:text>"), "odt"
    text = text_of(office.print(data, kind, "a"))
    assert "kept" in text and "fetched" not in text
    assert requests == []


@needs_office
def test_no_file_of_the_machine_comes_into_a_document(office, tmp_path):
    (tmp_path / "secret.txt").write_text("the secret of this machine")
    link = LINK.format((tmp_path / "secret.txt").as_uri())
    body = SECTION.format(link)
    data = office_files.open_document("text", f"<office:text>{body}</office:text>")
    text = text_of(office.print(data, "odt", "a.odt"))
    assert "kept" in text and "secret" not in text


def document_with_macro(target: Path) -> bytes:
    """An OpenDocument text whose macro, bound to its opening, writes a file."""
    link = "vnd.sun.star.script:Standard.M.planted?language=Basic&amp;location=document"
    listeners = "".join(
        f'<script:event-listener script:language="ooo:script" script:event-name="{name}" '
        f'xlink:href="{link}" xlink:type="simple"/>'
        for name in ("dom:load", "office:load-finished", "office:print")
    )
    code = f'Sub planted\nOpen "{target}" For Output As #1\nPrint #1, "ran"\nClose #1\nEnd Sub\n'
    library = 'xmlns:library="http://openoffice.org/2000/library" library:name="Standard"'
    script = 'xmlns:script="http://openoffice.org/2000/script" script:name="M" script:language="StarBasic"'
    added = {
        "Basic/script-lc.xml": '<library:libraries xmlns:library="http://openoffice.org/2000/library">'
        '<library:library library:name="Standard" library:link="false"/></library:libraries>',
        "Basic/Standard/script-lb.xml": f"<library:library {library}>"
        '<library:element library:name="M"/></library:library>',
        "Basic/Standard/M.xml": f"<script:module {script}>{escape(code)}</script:module>",
    }
    body = "<office:text><text:p>kept</text:p></office:text>"
    with zipfile.ZipFile(io.BytesIO(office_files.open_document("text", body))) as plain:
        parts = {name: plain.read(name).decode() for name in plain.namelist()}
    scripts = f"<office:scripts><office:event-listeners>{listeners}</office:event-listeners></office:scripts>"
    parts["content.xml"] = (
        parts["content.xml"]
        .replace("<office:automatic-styles>", f"{scripts}<office:automatic-styles>")
        .replace(
            " office:version",
            ' xmlns:script="urn:oasis:names:tc:opendocument:xmlns:script:1.0" office:version',
        )
    )
    entries = "".join(
        f'<manifest:file-entry manifest:full-path="{name}" manifest:media-type="text/xml"/>' for name in added
    )
    manifest = parts["META-INF/manifest.xml"]
    parts["META-INF/manifest.xml"] = manifest.replace(
        "</manifest:manifest>", f"{entries}</manifest:manifest>"
    )
    return office_files.zipped(parts | {name: f'<?xml version="1.0"?>{text}' for name, text in added.items()})


@needs_office
def test_a_macro_is_not_run(office, tmp_path):
    """The settings switch macros off. LibreOffice runs none either where a file is only printed."""
    target = tmp_path / "planted.txt"
    assert "kept" in text_of(office.print(document_with_macro(target), "odt", "a.odt"))
    assert not target.exists()
    profile = tmp_path / "profile"
    libreoffice._write_profile(profile)
    settings = (profile / "user" / "registrymodifications.xcu").read_text()
    assert 'oor:name="DisableMacrosExecution" oor:op="fuse"><value>true<' in settings


@needs_office
def test_several_run_at_once_and_leave_nothing_behind(office, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    bodies = [f"<office:text><text:p>text number {number}</text:p></office:text>" for number in range(3)]
    files = [office_files.open_document("text", body) for body in bodies]
    with ThreadPoolExecutor(3) as threads:
        texts = list(threads.map(lambda data: text_of(office.print(data, "odt", "a.odt")), files))
    assert [text.strip() for text in texts] == ["text number 0", "text number 1", "text number 2"]
    assert list(tmp_path.iterdir()) == []


def stub(tmp_path: Path, script: str) -> str:
    path = tmp_path / "soffice"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for LibreOffice")
def test_one_that_hangs_is_killed_with_its_children(tmp_path, monkeypatch):
    marker = tmp_path / "child.pid"

    class Started(subprocess.Popen):
        """Its time begins when it has a child."""

        def communicate(self, *values, **options):
            wait_until(lambda: marker.exists() and marker.read_text())
            return super().communicate(*values, **options)

    monkeypatch.setattr(libreoffice.subprocess, "Popen", Started)
    path = stub(tmp_path, f"sleep 36000 & echo $! > {marker}; sleep 36000")
    with pytest.raises(DocumentError, match=r"a\.odt: LibreOffice took more than 1 s \(office_seconds\)"):
        LibreOffice(path, seconds=0.5, memory_mb=0).print(b"x", "odt", "a.odt")
    wait_until(lambda: not is_alive(int(marker.read_text())), "the end of its child")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for LibreOffice")
def test_one_that_writes_nothing_is_an_error_of_the_file_with_its_last_words(tmp_path, monkeypatch):
    path = stub(tmp_path, "echo 'Error: source file could not be loaded' >&2")
    with pytest.raises(
        DocumentError, match=r"a\.odt: LibreOffice cannot convert it \(Error: source file could"
    ):
        LibreOffice(path, seconds=PATIENCE, memory_mb=0).print(b"x", "odt", "a.odt")
    monkeypatch.setenv(libreoffice.VARIABLE, path)
    assert libreoffice.find() == path
    (document,) = discover(("a.odt", office_files.odt()))
    with (
        DocumentReader(ReaderSettings(workers=1)) as reader,
        pytest.raises(DocumentError, match="cannot convert"),
    ):
        reader.info(document)
    monkeypatch.setenv(libreoffice.VARIABLE, "")
    assert libreoffice.find() is None


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for LibreOffice")
def test_it_gets_no_keys_and_a_home_that_is_thrown_away(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    path = stub(
        tmp_path,
        f'env > {tmp_path}/seen; cat "$HOME/profile/user/registrymodifications.xcu" > {tmp_path}/profile',
    )
    with pytest.raises(DocumentError):
        LibreOffice(path, seconds=PATIENCE, memory_mb=0).print(b"x", "odt", "a.odt")
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines() if "=" in line)
    assert "OPENAI_API_KEY" not in seen and not Path(seen["HOME"]).exists()
    assert "DisableMacrosExecution" in (tmp_path / "profile").read_text()
