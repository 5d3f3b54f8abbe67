"""What is found, what is skipped, and the reason."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile

import pytest
from PIL import Image

from mmrag.documents import InputDocument, Skipped, discover
from mmrag.documents.file_kinds import AS_TEXT

PDF = b"%PDF-1.4\n%%EOF"


def png(color: str = "red", size: tuple[int, int] = (3, 2)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_file_is_found_with_its_digest_and_absolute_path(tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(PDF)
    monkeypatch.chdir(tmp_path)
    (found,) = discover("a.pdf")
    assert isinstance(found, InputDocument)
    assert found.source.sha256 == hashlib.sha256(PDF).hexdigest()
    assert (found.source.kind, found.source.name, found.data) == ("pdf", "a.pdf", None)
    assert found.source.path == str(tmp_path / "a.pdf")


def test_kind_is_decided_by_content_not_by_suffix(tmp_path):
    (tmp_path / "really-a-picture.pdf").write_bytes(png())
    (tmp_path / "really-a-pdf.png").write_bytes(PDF)
    kinds = {item.source.name: item.source.kind for item in discover(tmp_path)}
    assert kinds == {"really-a-picture.pdf": "image", "really-a-pdf.png": "pdf"}


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name in names:
            zipped.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"junk before the header\n%PDF-1.7", "pdf"),
        (b"GIF89a......", "image"),
        (b"II*\x00....", "image"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image"),
        (b"P5 2 2 255 ....", "image"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- c -->\n<svg width="9"/>', "svg"),
        (archive("META-INF/container.xml"), "epub"),
        (archive("FixedDocSeq.fdseq"), "xps"),
    ],
)
def test_kinds_by_magic_bytes(data, kind):
    (found,) = discover(data)
    assert found.source.kind == kind
    assert found.data == data


def test_a_folder_is_walked_in_sorted_order_and_everything_is_accounted_for(tmp_path):
    (tmp_path / "b.pdf").write_bytes(PDF)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "z.png").write_bytes(png())
    (tmp_path / "a" / "empty.pdf").write_bytes(b"")
    (tmp_path / "c.txt").write_text("plain text")
    (tmp_path / "d.docx").write_bytes(archive("word/document.xml"))
    (tmp_path / "e.pdf").write_text("plain text")
    (tmp_path / ".hidden.pdf").write_bytes(PDF)
    (tmp_path / ".git").mkdir()
    os.symlink(tmp_path / "gone", tmp_path / "link.pdf")
    os.symlink(tmp_path, tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe.pdf")
    seen = [
        (item.source.name, "")
        if isinstance(item, InputDocument)
        else (item.name[len(str(tmp_path)) + 1 :], item.reason)
        for item in discover(tmp_path)
    ]
    assert seen == [
        (".git", "hidden folder"),
        (".hidden.pdf", "hidden file"),
        ("a/empty.pdf", "empty file"),
        ("z.png", ""),
        ("b.pdf", ""),
        ("c.txt", ""),
        ("d.docx", ""),
        ("e.pdf", f"its name ends in .pdf, but its content is plain text: {AS_TEXT}"),
        ("link.pdf", f"dangling link to {tmp_path}/gone"),
        ("loop", "a link to a folder is not followed"),
        ("pipe.pdf", "not a regular file"),
    ]


def test_without_recursion_only_the_folder_itself(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "inner.pdf").write_bytes(PDF)
    (tmp_path / "outer.pdf").write_bytes(PDF)
    assert [item.source.name for item in discover(tmp_path, recursive=False)] == ["outer.pdf"]


def test_globs_and_names_that_look_like_globs(tmp_path):
    for name in ("a.pdf", "b.pdf", "report[1].pdf"):
        (tmp_path / name).write_bytes(PDF)
    assert [item.source.name for item in discover(str(tmp_path / "?.pdf"))] == ["a.pdf", "b.pdf"]
    assert [item.source.name for item in discover(str(tmp_path / "report[1].pdf"))] == ["report[1].pdf"]
    (nothing,) = discover(str(tmp_path / "*.tiff"))
    assert nothing == Skipped(str(tmp_path / "*.tiff"), "the pattern matches nothing")


def test_a_path_that_does_not_exist_is_skipped_and_the_rest_goes_on(tmp_path):
    (tmp_path / "a.pdf").write_bytes(PDF)
    missing, found = discover([tmp_path / "missing.pdf", tmp_path / "a.pdf"])
    assert missing.reason == "there is no such file or folder"
    assert found.source.name == "a.pdf"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_skipped(tmp_path):
    (tmp_path / "a.pdf").write_bytes(PDF)
    (tmp_path / "a.pdf").chmod(0)
    (skipped,) = discover(tmp_path)
    assert skipped.reason == "cannot be read (Permission denied)"


def test_bytes_named_bytes_and_pictures():
    plain, named, picture, again, empty = discover(
        [PDF, ("mine.pdf", PDF), Image.new("RGB", (4, 4), "blue"), Image.new("RGB", (4, 4), "blue"), b""]
    )
    assert plain.source.name == f"{plain.source.sha256[:8]}.pdf"
    assert named.source.name == "mine.pdf"
    assert plain.source.path is None and named.data == PDF
    assert picture.source.kind == "image" and picture.source == again.source, (
        "equal pictures are one document"
    )
    assert empty == Skipped("0 bytes", "empty file")


def test_other_types_are_refused():
    with pytest.raises(TypeError, match=r"must be a path, a glob, bytes, .* got int"):
        list(discover(7))
    with pytest.raises(TypeError, match="got float"):
        list(discover([1.5]))
