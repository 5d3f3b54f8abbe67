"""Pages that the reader learns from: labels lie on ink, folding keeps its laws, the index is true."""

from __future__ import annotations

import importlib.util
import json
import random
import string
import sys
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

MINI = Path(__file__).resolve().parents[2] / "scripts" / "mini"
LINE = "Sphinx of black quartz, judge my vow 0123456789"


def script(name: str):
    """A file of scripts/mini as a module, under a name that nothing else has."""
    spec = importlib.util.spec_from_file_location(f"mini_{name}", MINI / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


pages = script("pages")
synthetic = script("synthetic")


@pytest.fixture(scope="module")
def fonts(tmp_path_factory) -> list[Path]:
    """Four fonts that PyMuPDF carries, as files."""
    folder = tmp_path_factory.mktemp("fonts")
    for name in ("helv", "tiro", "cour", "hebo"):
        (folder / f"{name}.otf").write_bytes(pymupdf.Font(name).buffer)
    return sorted(folder.iterdir())


def plain_page(lines: int = 10, **text) -> pymupdf.Page:
    page = pymupdf.open().new_page(width=420, height=595)
    for line in range(lines):
        page.insert_text((40, 80 + 30 * line), LINE, fontsize=14, **text)
    return page


def inside(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Pixels of a box that lie on the page."""
    x0, y0, x1, y1 = box
    return image[max(0, int(y0)) : int(np.ceil(y1)), max(0, int(x0)) : int(np.ceil(x1))]


def spelled(characters: np.ndarray) -> str:
    """Characters as text with a blank before each that starts a word."""
    return "".join(" " * bool(c["start"]) + pages.CLASSES[c["kind"]] for c in characters).strip()


def test_the_labels_of_a_page_spell_its_text_and_each_lies_on_ink():
    image, found = pages.drawn(plain_page(), random.Random(0))
    assert pages.LONG_SIDE[0] <= max(image.shape) <= pages.LONG_SIDE[1] + 1
    assert spelled(found) == " ".join([LINE.lower()] * 10)
    assert all(inside(image, box).min() < 128 for box in found["box"])


def test_a_box_stands_around_the_base_line_and_is_lower_than_the_font_s():
    image, found = pages.drawn(plain_page(), random.Random(0))
    em = 14 * max(image.shape) / 595
    base = 80 * max(image.shape) / 595
    first = found["box"][: len(LINE.replace(" ", ""))]
    assert (first[:, 3] - first[:, 1] < 1.2 * em).all()  # that of the font: 1.37
    assert (first[:, 1] < base - 0.7 * em).all()
    assert (base < first[:, 3]).all()


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(plain_page(0), id="blank"),
        pytest.param(plain_page(1), id="too few characters"),
        pytest.param(plain_page(morph=(pymupdf.Point(40, 80), pymupdf.Matrix(20))), id="skewed"),
        pytest.param(pymupdf.open().new_page(width=900, height=90), id="a strip"),
    ],
)
def test_a_page_that_cannot_be_trusted_is_left_out(page):
    assert pages.drawn(page, random.Random(0)) is None


def test_a_turned_page_is_left_out_because_its_boxes_are_not():
    page = plain_page()
    page.set_rotation(90)
    assert pages.drawn(page, random.Random(0)) is None


def test_a_page_of_unknown_letters_is_left_out():
    page = pymupdf.open().new_page()
    page.insert_text((40, 80), "Съешь ещё этих мягких французских булок", fontname="china-s")
    page.insert_text((40, 110), "да чай же эти французских ещё булок", fontname="china-s")
    assert page.get_text().strip()
    assert pages.drawn(page, random.Random(0)) is None


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_synthetic_pages_lie_on_ink(fonts, seed):
    words = ["Quick", "zebra", "jumping", "over", "vexed", "kidney", "wolf", "chart"]
    with synthetic.made(random.Random(seed), fonts, words) as document:
        document = pymupdf.open(stream=document.tobytes())
        assert len(document) == 2
        for page in document:
            image, found = pages.drawn(page, random.Random(seed))
            cells = [inside(image, box) for box in found["box"]]
            on_page = [cell for cell in cells if cell.size]
            marked = np.mean([int(cell.max()) - int(cell.min()) > 40 for cell in on_page])
            assert len(on_page) > 0.9 * len(cells)
            assert marked > 0.97  # the rest: pale labels, letters under later bars
            assert found["box"][:, 3].max() > 0.6 * image.shape[0]  # filled to the lower part


def test_a_seed_makes_the_same_pages_and_another_seed_others(fonts):
    words = ["alpha", "beta", "gamma"]
    texts = []
    for seed in (5, 5, 6):
        with synthetic.made(random.Random(seed), fonts, words) as document:
            texts.append([page.get_text() for page in document])
    assert texts[0] == texts[1] != texts[2]


def test_a_font_without_latin_letters_is_not_taken(tmp_path, fonts):
    assert all(synthetic.latin(font) for font in fonts)
    (tmp_path / "symbols.otf").write_bytes(pymupdf.Font("symb").buffer)
    (tmp_path / "broken.otf").write_bytes(b"no font")
    assert not synthetic.latin(tmp_path / "symbols.otf")
    assert not synthetic.latin(tmp_path / "broken.otf")


@pytest.mark.parametrize(
    ("char", "classes"),
    [("A", "a"), ("é", "e"), ("Ñ", "n"), ("ﬁ", "fi"), ("ﬄ", "ffl"), ("²", "2"), ("…", "...")],
)
def test_folding_by_example(char, classes):
    assert [pages.CLASSES[kind] for kind in pages.classes_of(char)] == list(classes)


@pytest.mark.parametrize("char", ["я", "∑", "¨", "\u200b", "中"])
def test_what_has_no_class_gets_the_last_one(char):
    assert pages.classes_of(char) == [pages.OTHER]


@given(st.characters(exclude_categories=["Cs"]))
def test_every_character_has_a_class_and_none_is_no_ink(char):
    kinds = pages.classes_of(char)
    assert kinds
    assert all(1 <= kind <= pages.OTHER for kind in kinds)
    assert pages.classes_of(char.lower()) == kinds


@given(st.sampled_from(string.ascii_letters), st.sampled_from("\u0300\u0301\u0308\u030a\u0327"))
def test_case_and_accents_change_nothing(letter, accent):
    assert pages.classes_of(letter + accent) == pages.classes_of(letter.lower())
    assert pages.classes_of(letter.upper()) == pages.classes_of(letter.lower())


def test_printing_ascii_keeps_its_own_class():
    for char in string.ascii_lowercase + string.digits + string.punctuation:
        assert [pages.CLASSES[kind] for kind in pages.classes_of(char)] == [char]


def test_the_files_hold_what_the_index_says(tmp_path, monkeypatch, capsys):
    for source in ("ours", "set-aside"):
        (tmp_path / "pdf" / source).mkdir(parents=True)
        plain_page().parent.save(tmp_path / "pdf" / source / "a.pdf")
    (tmp_path / "pdf" / "ours" / "broken.pdf").write_bytes(b"no PDF")
    command = ["pages.py", str(tmp_path / "pdf"), str(tmp_path / "out"), "--validation", "set-aside"]
    monkeypatch.setattr(sys, "argv", command)
    pages.main()
    assert "2 pages of 2 files, 1 for training" in capsys.readouterr().out
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["classes"] == pages.CLASSES
    pixels = np.fromfile(tmp_path / "out" / "pages.bin", np.uint8)
    chars = np.fromfile(tmp_path / "out" / "chars.bin", pages.CHAR)
    assert {page["source"]: page["validation"] for page in index["pages"]} == {
        "ours": False,
        "set-aside": True,
    }
    ends = 0
    for page in index["pages"]:
        assert page["pixels"] == ends
        height, width = page["shape"]
        ends += height * width
        image = pixels[page["pixels"] : ends].reshape(height, width)
        found = chars[slice(*page["chars"])]
        assert spelled(found).startswith(LINE.lower())
        assert all(inside(image, box).min() < 128 for box in found["box"])
    assert ends == len(pixels)
    assert index["pages"][-1]["chars"][1] == len(chars)
