"""The drawn packs: truth is on the page, boxes are inside it, the same seed gives the same bytes."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pymupdf
import pytest

from mmrag.cli import main
from mmrag.evaluation import load_pack

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import make_packs  # noqa: E402
from packs import alike, tables  # noqa: E402
from packs.book import A4, Book  # noqa: E402
from packs.figures import EUROPEAN, FRENCH, LEDGER, SWISS, same  # noqa: E402
from packs.names import Kit  # noqa: E402
from packs.scanner import SCANNERS, scan  # noqa: E402
from packs.truth import Drawing, Query  # noqa: E402

EVERY = 4  # has tables upright and sideways, drawn fields and those of the file, sums and scans


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packs")
    make_packs.make(folder, every=EVERY)
    return folder


def queries(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def asked(out) -> list[tuple[Path, dict]]:
    return [
        (out / pack / "documents" / q["doc"], q) for pack in make_packs.PACKS for q in queries(out / pack)
    ]


@cache
def characters(
    path: Path | str, number: int, data: bytes | None = None
) -> tuple[tuple[pymupdf.Point, str], ...]:
    """Characters of a page with their middles, as the page is seen."""
    with pymupdf.open(path, stream=data) as pages:
        page = pages[number]
        turn = page.rotation_matrix
        return tuple(
            ((rect.tl + rect.br) / 2, char["c"])
            for block in page.get_text("rawdict")["blocks"]
            for line in block.get("lines", ())
            for span in line["spans"]
            for char in span["chars"]
            for rect in [pymupdf.Rect(char["bbox"]) * turn]
        )


def inside(path: Path | str, box: dict, data: bytes | None = None) -> str:
    """Characters whose middle is in a box of the pack's format."""
    area = pymupdf.Rect(box["bbox"])
    return "".join(char for middle, char in characters(path, box["page"], data) if middle in area)


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_figures_are_written_as_each_country_writes_them():
    assert [hand.write(-1234567.5, 2) for hand in (EUROPEAN, LEDGER, FRENCH, SWISS)] == [
        "-1.234.567,50", "1.234.567,50-", "\N{EN DASH}1\xa0234\xa0567,50", "-1'234'567.50",
    ]  # fmt: skip
    assert same("1.234,5", 1234.5, 1) == ("1.234,5", "1234.5", "1,234.5")


def test_a_phrase_in_braces_is_remembered_line_by_line():
    book = Book(A4, "")
    _, spots = book.flow(56, 60, 90, "It is due on {3 May 2021}. Ask {Ada}, please.", 10, "Helvetica")
    book.next_page()
    data = book.finish()
    assert len(spots["3 May 2021"]) == 2
    for phrase, parts in spots.items():
        text = "".join(inside("pdf", {"page": 0, "bbox": spot.box}, data) for spot in parts)
        assert squeezed(text) == squeezed(phrase)


def test_what_is_asked_for_stands_in_its_box(asked):
    checked = Counter()
    for path, query in asked:
        if query["scan"] or query["value_in_widget"] or query["kind"] not in ("cell", "field"):
            continue
        text = "".join(inside(path, box) for box in query["value_boxes"])
        wanted = re.split("; ", query["answers"][0])
        assert all(squeezed(part).replace("^", "") in squeezed(text) for part in wanted), query
        checked[query["kind"]] += 1
    assert min(checked["cell"], checked["field"]) > 10


def test_values_of_the_files_own_fields_are_those_asked_for(asked):
    seen = 0
    for path, query in asked:
        if query["value_in_widget"]:
            with pymupdf.open(path) as pages:
                box = query["value_boxes"][0]
                area = pymupdf.Rect(box["bbox"])
                page = pages[box["page"]]
                values = [w.field_value for w in page.widgets() if (w.rect & area).get_area() > 0]
            text = inside(path, box)
            assert query["answers"][0] in values or squeezed(query["answers"][0]) in squeezed(text), query
            seen += 1
    assert seen


def test_boxes_are_inside_their_pages_and_values_inside_their_blocks(asked):
    for path, query in asked:
        with pymupdf.open(path) as pages:
            for box in query["evidence_boxes"] + query["value_boxes"]:
                x0, y0, x1, y1 = box["bbox"]
                width, height = box["page_size"]
                assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height, query
                rect = pages[box["page"]].rect
                assert rect.width / rect.height == pytest.approx(width / height, rel=0.01), query
        if query["kind"] in ("cell", "field"):
            blocks = [(box["page"], pymupdf.Rect(box["bbox"])) for box in query["evidence_boxes"]]
            for box in query["value_boxes"]:
                middle = (pymupdf.Rect(box["bbox"]).tl + pymupdf.Rect(box["bbox"]).br) / 2
                is_rated = len(query["value_boxes"]) == 2 and query["doc"].startswith("questionnaire")
                assert is_rated or any(page == box["page"] and middle in area for page, area in blocks), query


def test_scans_have_no_text_and_ink_in_each_box(asked):
    scans = [(path, query) for path, query in asked if query["scan"]]
    assert scans
    for path, query in scans:
        with pymupdf.open(path) as pages:
            for box in query["value_boxes"]:
                page = pages[box["page"]]
                assert not page.get_text().strip()
                scale = page.rect.width / box["page_size"][0]
                clip = pymupdf.Rect(box["bbox"]) * pymupdf.Matrix(scale, scale)
                picture = page.get_pixmap(clip=clip, dpi=100, colorspace=pymupdf.csGRAY)
                grey = np.frombuffer(picture.samples, np.uint8)
                assert (grey < grey.max() - 60).mean() > 0.02, query


@pytest.mark.parametrize("kind", sorted(SCANNERS))
def test_a_scanned_box_follows_its_mark(kind):
    """An independent look: the darkest patch of the scan is where the box was moved to."""
    book = Book(A4, "")
    book.box(400, 640, 60, 20, fill=(0, 0, 0))
    spot = book.spot(400, 640, 460, 660)
    book.next_page()
    drawing = Drawing("mark.pdf", book.finish(), book.sizes, [Query("?", ("!",), "field", (spot,), (spot,))])
    scanned = scan(drawing, kind, Kit(3, 1, kind))
    page = pymupdf.open(stream=scanned.data, filetype="jpg" if kind == "photo" else "pdf")[0]
    picture = page.get_pixmap(colorspace=pymupdf.csGRAY, dpi=72)
    grey = np.frombuffer(picture.samples, np.uint8).reshape(picture.height, picture.stride)[
        :, : picture.width
    ]
    rows, columns = np.where(grey < 90)
    size = scanned.sizes[0]
    x0, y0, x1, y1 = scanned.queries[0].values[0].box
    middle = np.median(columns) / picture.width, np.median(rows) / picture.height
    assert middle == pytest.approx(((x0 + x1) / 2 / size[0], (y0 + y1) / 2 / size[1]), abs=0.004)


def test_sums_and_differences_agree_with_the_figures_on_the_page(asked):
    """Digits read from the PDF, the decimal mark set by the answer's own decimals."""
    checked = 0
    for path, query in asked:
        if query["kind"] != "computed" or query["scan"] or "tables" not in query["source"]:
            continue
        if query["answer_format"] not in ("Int", "Float"):
            continue
        plain = query["answers"][1] if len(query["answers"]) > 1 else query["answers"][0]
        decimals = len(plain.partition(".")[2])
        texts = [inside(path, box) for box in query["value_boxes"]]
        digits = [int(re.sub(r"\D", "", text.split("±")[0])) / 10**decimals for text in texts]
        signed = [
            sum(s * d for s, d in zip(signs, digits, strict=True))
            for signs in product((1, -1), repeat=len(digits))
        ]
        assert any(abs(value - float(plain)) < 10**-decimals / 2 for value in signed), query
        checked += 1
    assert checked


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first = make_packs.make(tmp_path / "a", every=24)
    second = make_packs.make(tmp_path / "b", every=24)
    for name in make_packs.PACKS:
        assert [d.data for d in first[name]] == [d.data for d in second[name]]
        assert (tmp_path / "a" / name / "queries.jsonl").read_bytes() == (
            tmp_path / "b" / name / "queries.jsonl"
        ).read_bytes()
    assert tables.make(18, 0).data != tables.make(17, 0).data


def test_a_pack_is_not_written_over_another(tmp_path):
    make_packs.make(tmp_path, packs=("tables",), every=40)
    with pytest.raises(FileExistsError, match="new folder"):
        make_packs.make(tmp_path, packs=("tables",), every=40)


def test_questions_are_different_and_of_all_kinds(out):
    for pack in make_packs.PACKS:
        read = load_pack(out / pack)
        assert len(read.documents) == -(-len(make_packs.PACKS[pack].PLANS) // EVERY)
        assert len({q.question for q in read.questions}) == len(read.questions)
        kinds = Counter(q["kind"] for q in queries(out / pack))
        assert {"computed", "unanswerable"} < set(kinds)
        assert 0.08 < kinds["unanswerable"] / kinds.total() < 0.25


def test_no_two_documents_answer_the_same_question():
    """What names a document in its questions is the root of its firm or place: no other document has it."""
    for pack, module in make_packs.PACKS.items():
        roots = [Kit(5, number, pack).root for number in range(len(module.PLANS))]
        people = [Kit(5, number, pack).own_person() for number in range(len(module.PLANS))]
        assert len(set(roots)) == len(roots) and len(set(people)) == len(people)


def test_an_answer_stands_on_no_other_page_of_a_document_that_looks_alike(out):
    checked = 0
    for query in queries(out / "alike"):
        if query["kind"] in ("cell", "field") and not query["scan"]:
            with pymupdf.open(out / "alike" / "documents" / query["doc"]) as pages:
                texts = [" ".join(word[4] for word in page.get_text("words")) for page in pages]
            whole = re.compile(rf"(?<![\w.,]){re.escape(query['answers'][0])}(?!\w)")
            assert [n for n, text in enumerate(texts) if whole.search(text)] == query["evidence_pages"], query
            checked += 1
    assert checked > 15


def test_only_the_newest_of_its_kind_is_asked_for_as_such(out):
    """By the plans: the last period, contract, version or month of whom or what it is about."""
    newest = {}
    for plan in alike.PLANS:
        key = (plan.family, *(plan.place[:1] if plan.family in ("report", "contract", "manual") else ()))
        newest[key] = max(newest.get(key, ()), plan.place)
    lines = queries(out / "alike")
    assert {query["naming"] for query in lines} == {"named", "latest", "unnamed"}
    for number in range(0, len(alike.PLANS), 7):
        plan = alike.PLANS[number]
        asked = {query.naming for query in alike.make(17, number).queries}
        assert "latest" not in asked or plan.place in newest.values()
    for query in lines:
        if query["naming"] == "latest":
            assert re.search("latest|most recent|newest", query["question"]), query


def test_revisions_of_a_manual_have_most_lines_in_common_and_other_values():
    first, second = (alike.make(17, number) for number in (23, 24))
    read = [pymupdf.open(stream=drawing.data) for drawing in (first, second)]
    lines = [{line for page in pages for line in page.get_text().splitlines()} for pages in read]
    assert 0.6 < len(lines[0] & lines[1]) / len(lines[0]) < 0.95
    assert not {query.answers[0] for query in first.queries if query.answers} & lines[1]


@pytest.mark.slow
def test_evaluate_reads_it(tmp_path, capsys):
    make_packs.make(tmp_path, packs=("tables",), every=48)
    code = main(["evaluate", str(tmp_path / "tables"), "--index", str(tmp_path / "index")])
    assert not code and "nDCG" in capsys.readouterr().out
