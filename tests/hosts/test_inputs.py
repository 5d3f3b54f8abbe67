"""What users of hosts write."""

from __future__ import annotations

import base64
import contextlib
import io
import random
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile

from mmrag import Answer, Budget, Citation, Query, Ranking, Record
from mmrag.documents import DocumentReader, ReaderSettings
from mmrag.errors import DocumentError
from mmrag.hosts.inputs import as_budget, as_ids, as_metadata, as_query, budget_pair, text_image_query
from mmrag.hosts.metadata import answer_boxes, caller_lists, evidence_metadata, metadata_boxes
from mmrag.hosts.pages import picture_decoder
from mmrag.images import Decode, load_image, to_rgb

BOX = (0.1, 0.2, 0.3, 0.4)


@pytest.fixture
def red(tmp_path: Path) -> Path:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def data_uri(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("value", [Budget(1, 2), (1, 2), [1, 2], {"query": 1, "document": 2}])
def test_a_budget_is_written_in_four_ways(value: object) -> None:
    assert as_budget(value) == Budget(1, 2)
    assert budget_pair(value) == (1, 2)


@pytest.mark.parametrize("value", ["12", (1,), (1, 2, 3), {"query": 1}, 5])
def test_other_budgets_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="budget must be Budget"):
        as_budget(value)


def test_a_question_is_text_an_image_or_blocks(red: Path) -> None:
    query = Query(text="a")
    assert as_query(query) is query
    assert as_query("a") == query
    both = as_query(["a", {"type": "image_url", "image_url": {"url": data_uri(red.read_bytes())}}])
    assert (both.text, both.image.size) == ("a", (4, 4))
    assert as_query({"image": red}).text is None
    assert text_image_query("", str(red)).image.size == (4, 4)


def message_forms(url: str) -> list[Any]:
    """Every place of a message in which an image's address may stand."""
    return [
        {"image": url},
        [{"type": "image_url", "image_url": {"url": url}}],
        [{"type": "image_url", "image_url": url}],
        ["look", {"type": "image", "url": url}],
    ]


def test_a_message_opens_no_file_by_name(red: Path) -> None:
    for url in (
        str(red),
        red.as_uri(),
        f"FILE://{red}",
        "~/a.png",
        "red.png",
        "https://example.org/a.png",
        "",
    ):
        for value in message_forms(url):
            with pytest.raises(ValueError, match=r"must be a data URI|must have 'url' or 'base64'"):
                as_query(value)


def test_a_message_starts_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands EPS to Ghostscript, which has run commands written in pictures."""
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("a program was started"))
    picture = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n9 9 moveto\n%%EOF\n"
    for value in message_forms(data_uri(picture)):
        with pytest.raises(DocumentError, match="must be readable"):
            as_query(value)


def small_bomb() -> bytes:
    """Return a PNG of a few kilobytes that claims, and holds, 60 million pixels."""
    buffer = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_is_measured_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = small_bomb()
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("it was decoded"))
    for value in message_forms(data_uri(bomb)):
        with pytest.raises(DocumentError, match="at most 50000000 pixels, got 10000 x 6000"):
            as_query(value)


def test_an_icon_with_a_larger_picture_inside_is_no_picture_of_a_message() -> None:
    icon = struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(small_bomb()), 22) + small_bomb()
    with pytest.raises(DocumentError, match="must be readable"):
        as_query({"image": icon})


def test_damaged_pictures_end_in_one_kind_of_error(red: Path) -> None:
    generator = random.Random(0)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        buffer = io.BytesIO()
        Image.effect_noise((40, 30), 60).convert("RGB").save(buffer, kind)
        for _ in range(60):
            data = bytearray(buffer.getvalue())
            for _ in range(generator.randrange(1, 20)):
                data[generator.randrange(len(data))] = generator.randrange(256)
            with contextlib.suppress(DocumentError):
                load_image(bytes(data), max_pixels=1_000_000)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ({"words": "a"}, ValueError, "got 'words'"),
        ([{"type": "audio"}], ValueError, "must be text or image, got 'audio'"),
        ([{"type": "image"}], ValueError, "must have 'url' or 'base64'"),
        (3, TypeError, "got int"),
    ],
)
def test_other_questions_are_refused(value: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        as_query(value)


def test_ids_and_metadata_are_the_callers_copied() -> None:
    assert as_ids(None) is None
    ids = as_ids(["a", None, None])
    assert ids is not None and ids[0] == "a" and len({*ids}) == 3
    given = [{"tags": ["x", "y"]}]
    assert as_metadata(given) == [{"tags": ("x", "y")}]
    assert given == [{"tags": ["x", "y"]}]


def test_lists_of_the_caller_stay_lists() -> None:
    record = Record(id="r", matrix=None, text="t", metadata={"tags": ("x", "y"), "n": 1})
    assert caller_lists(record) == {"tags": ["x", "y"]}


def test_evidence_is_quotes_and_boxes_without_repeats() -> None:
    citations = [Citation(1, "a", "q", (BOX,)), Citation(2, "a", "q", (BOX,)), Citation(3, "a", "r")]
    evidence = evidence_metadata(citations)
    assert evidence["quote"] == "q … r"
    assert metadata_boxes(evidence) == [BOX]
    assert evidence_metadata([]) == {} and metadata_boxes({}) == []
    answer = Answer("", tuple(citations), Ranking(Query(text="?"), ()))
    assert answer_boxes(answer) == {"a": [BOX, BOX]}


@pytest.fixture(scope="module")
def decode() -> Iterator[Decode]:
    """What decodes pictures in a reading process."""

    class Reading:
        reader = DocumentReader(ReaderSettings(ocr="off", workers=1))

    yield picture_decoder(Reading())  # type: ignore[arg-type]
    Reading.reader.close()


def test_a_picture_of_a_message_is_decoded_in_a_reading_process(decode, monkeypatch) -> None:
    """The same picture, of every format and mode, and no decoder of this process sees it."""
    pictures = []
    for mode, kind in (
        ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "GIF"), ("L", "JPEG"), ("RGB", "WEBP"), ("RGB", "BMP"),
    ):  # fmt: skip
        buffer = io.BytesIO()
        Image.effect_noise((40, 30), 60).convert(mode).save(buffer, kind)
        pictures.append((buffer.getvalue(), as_query({"image": data_uri(buffer.getvalue())}).image))
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was opened here"))
    for data, here in pictures:
        for value in message_forms(data_uri(data)):
            there = as_query(value, decode).image
            assert there.tobytes() == to_rgb(here).tobytes()


def test_a_reading_process_refuses_what_this_one_refuses(decode) -> None:
    buffer = io.BytesIO()
    Image.new("1", (10_001, 9_001)).save(buffer, "PNG")
    for data in (b"", b"%PDF-1.7", b"%!PS-Adobe-3.0 EPSF-3.0", b"\x89PNG\r\n\x1a\n cut", buffer.getvalue()):
        with pytest.raises(DocumentError):
            as_query({"image": data_uri(data)}, decode)
    with pytest.raises(ValueError, match="must be a data URI"):
        as_query({"image": "/etc/hostname"}, decode)
    with pytest.raises(DocumentError, match="must be readable"):
        as_query({"image": "data:image/png;base64,%%"}, decode)
