"""The samples that ship: what they promise, and that the script in `scripts/` makes them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pymupdf
import pytest

from mmrag.samples import sample_documents, sample_pack, sample_questions

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))
from samples import annual_report_data, energy, evidence, form, paper_data, scan  # noqa: E402

PAGES = {
    "harbor-annual-report-2024.pdf": 8,
    "energy-outlook-charts.pdf": 5,
    "maintenance-log-scan.pdf": 3,
    "coastal-erosion-paper.pdf": 4,
    "product-launch-deck.pdf": 10,
    "insurance-claim-form.pdf": 2,
}
REPORT, CHARTS, LOG, STUDY, SLIDES, CLAIM = PAGES
FIELDS = {
    "id", "question", "answers", "answer_format", "answerable", "doc", "evidence_pages", "evidence_types",
    "evidence_boxes", "evidence_check", "image_only_evidence", "self_contained", "doc_type", "source",
    "written_by", "core",
}  # fmt: skip


def queries() -> list[dict]:
    return [json.loads(line) for line in (sample_pack() / "queries.jsonl").read_text("utf-8").splitlines()]


@cache
def typed_scan() -> bytes:
    return scan.layout()


def opened(name: str) -> pymupdf.Document:
    """The sample, for the scan the pages as typed."""
    if name == LOG:
        return pymupdf.open(stream=typed_scan(), filetype="pdf")
    return pymupdf.open(sample_documents() / name)


def spoken(page: pymupdf.Page) -> str:
    return " ".join(word[4] for word in page.get_text("words"))


def number(cell: str) -> float:
    return float(cell.replace(",", "").replace("\u2013", "-"))


def row_of(page: pymupdf.Page, head: str, count: int, nth: int = 0) -> list[float]:
    """The `count` numbers printed right after the nth occurrence of a row's head."""
    after = spoken(page).split(head)[nth + 1]
    return [number(cell) for cell in re.findall(r"\u2013?[\d,]+(?:\.\d+)?", after)[:count]]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The samples made by two processes with different hash seeds."""
    folders = []
    for seed in ("1", "2"):
        out = tmp_path_factory.mktemp(f"made{seed}")
        command = [sys.executable, str(SCRIPTS / "make_samples.py"), "--out", str(out)]
        subprocess.run(
            command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed}, timeout=120
        )
        folders.append(out)
    return folders[0], folders[1]


def test_six_documents_ship() -> None:
    assert {path.name for path in sample_documents().iterdir()} == set(PAGES)


def test_together_they_are_small() -> None:
    assert sum(path.stat().st_size for path in sample_documents().iterdir()) < 2_500_000


def test_every_page_count() -> None:
    for name, count in PAGES.items():
        with pymupdf.open(sample_documents() / name) as document:
            assert document.page_count == count, name


def test_two_runs_give_the_same_bytes(rebuilt: tuple[Path, Path]) -> None:
    first, second = rebuilt
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == len(PAGES) + 2
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


def test_what_ships_is_what_the_script_makes(rebuilt: tuple[Path, Path]) -> None:
    # Text, questions and pixel sizes, not bytes: compressors differ between versions of a library.
    made = rebuilt[0]
    for file in ("questions.jsonl", "pack/queries.jsonl"):
        assert (made / file).read_text("utf-8") == (sample_pack().parent / file).read_text("utf-8")
    for name in PAGES:
        with (
            pymupdf.open(sample_documents() / name) as ours,
            pymupdf.open(made / "pack/documents" / name) as new,
        ):
            assert [page.get_text() for page in ours] == [page.get_text() for page in new]
            assert [page.get_label() for page in ours] == [page.get_label() for page in new]
            assert [pictures(page) for page in ours] == [pictures(page) for page in new]


def pictures(page: pymupdf.Page) -> list[tuple]:
    """Size, depth, colours and filter of a page's pictures; their names hold a digest of compressed bytes."""
    return [(*image[2:6], image[8]) for image in page.get_images()]


def test_report_labels_differ_from_positions() -> None:
    with opened(REPORT) as report:
        assert [page.get_label() for page in report] == ["i", "ii", "1", "2", "3", "4", "5", "6"]
        for page in list(report)[1:]:
            assert spoken(page).split().count(page.get_label()) >= 1


def test_paper_starts_at_its_journal_page() -> None:
    with opened(STUDY) as study:
        assert [page.get_label() for page in study] == ["41", "42", "43", "44"]


def test_scan_has_no_text_layer() -> None:
    with pymupdf.open(sample_documents() / LOG) as document:
        for page in document:
            assert page.get_text().strip() == ""
            assert page.get_text("words") == []
            (image,) = page.get_images()
            assert image[5] == "DeviceGray" and image[8] == "DCTDecode"
            assert 150 <= image[2] / (page.rect.width / 72) <= 170


def test_no_fonts_are_embedded() -> None:
    for name in set(PAGES) - {LOG}:
        with opened(name) as document:
            for page in document:
                assert {font[1] for font in page.get_fonts()} == {"n/a"}, name


@pytest.mark.parametrize(
    ("parts", "nth"),
    [(annual_report_data.SEGMENTS, 0), (annual_report_data.REGIONS, 1)],
    ids=["segment", "region"],
)
def test_net_sales_add_up_as_printed(parts: dict[str, tuple[float, ...]], nth: int) -> None:
    with opened(REPORT) as report:
        page = report[3]
        table = "Net sales by segment" if nth == 0 else "Net sales by region"
        assert table in spoken(page)
        rows = [row_of(page, f"{name} ", 3, spoken(page).count(f"{name} ") - 1) for name in parts]
        total = row_of(page, "Total net sales", 3, nth)
    assert [round(sum(column), 1) for column in zip(*rows, strict=True)] == total


def test_segments_regions_and_income_agree_on_net_sales() -> None:
    with opened(REPORT) as report:
        by_segment = row_of(report[3], "Total net sales", 3, 0)
        assert by_segment == row_of(report[3], "Total net sales", 3, 1)
        assert by_segment == row_of(report[4], "Change Net sales", 3)


def test_statement_of_income_adds_up_as_printed() -> None:
    with opened(REPORT) as report:
        page = report[4]
        table = spoken(page).split("Consolidated statement of income")[1]

        def line(head: str) -> list[float]:
            return [number(cell) for cell in re.findall(r"[\d,]+\.\d+", table.split(f"{head} ")[1])[:3]]

        sales, cost, gross = line("Net sales"), line("Cost of sales"), line("Gross profit")
        research, selling, operating = (
            line("Research and development"),
            line("administrative"),
            line("Operating income"),
        )
        interest, before, tax, net = (
            line("net"),
            line("Income before taxes"),
            line("Income taxes"),
            line("Net income"),
        )
    for year in range(3):
        assert round(sales[year] - cost[year], 1) == gross[year]
        assert round(gross[year] - research[year] - selling[year], 1) == operating[year]
        assert round(operating[year] - interest[year], 1) == before[year]
        assert round(before[year] - tax[year], 1) == net[year]


def test_balance_sheet_balances() -> None:
    with opened(REPORT) as report:
        page = report[5]
        assert row_of(page, "Total assets", 2) == row_of(page, "Total liabilities and equity", 2)
        assert row_of(page, "Total assets", 2) == list(annual_report_data.totals(annual_report_data.ASSETS))


def test_employees_add_up() -> None:
    with opened(REPORT) as report:
        assert row_of(report[6], "577 Total", 1) == [
            sum(count for _, count in annual_report_data.SITES.values())
        ]


def test_claim_adds_up_as_printed() -> None:
    with opened(CLAIM) as claim:
        page = claim[1]
        (total,) = row_of(page, "Total of items", 1)
        (excess,) = row_of(page, "Less excess (policy section 4)", 1)
        (claimed,) = row_of(page, "Amount claimed", 1)
    assert total == sum(item[3] for item in form.ITEMS)
    assert claimed == total + excess


def test_charts_agree_with_each_other() -> None:
    latest = {name: values[-1] for name, (values, _) in energy.MIX.items()}
    by_source = {name: value / 1000 for name, (value, _) in energy.BY_SOURCE.items()}
    assert latest["Wind"] == pytest.approx(by_source["Offshore wind"] + by_source["Onshore wind"])
    for name in ("Natural gas", "Hydro", "Solar", "Biomass"):
        assert latest[name] == by_source[name]
    assert sum(share for share, _ in energy.BY_SECTOR.values()) == 100


def test_deck_plans_the_units_of_its_title() -> None:
    with opened(SLIDES) as slides:
        words = spoken(slides[6])
    units = [
        number(cell)
        for cell in re.findall(r"(?:harbors|Aquaculture|authorities|Research|energy) ([\d,]+)", words)
    ]
    assert len(units) == 5
    assert sum(units) == number(words.split()[0])


def test_fuel_of_the_log_adds_up() -> None:
    opening, delivered, used, closing = (number(amount) for _, amount in scan.FUEL)
    assert opening + delivered - used == closing


def test_paper_totals_are_means_times_years() -> None:
    for name, total in zip(paper_data.SOFT, ("m2_total", "m4_total", "m6_total"), strict=True):
        series = paper_data.retreat()[name]
        assert len(series) == 28
        assert float(paper_data.quoted()[total]) == pytest.approx(sum(series), abs=0.05)


def test_demo_asks_the_six_kinds_in_order() -> None:
    asked = sample_questions()
    assert [(one["kind"], one["answerable"], one["needs"]) for one in asked] == [
        ("table", True, ""),
        ("labelled value", True, ""),
        ("sentence", True, ""),
        ("scan", True, "ocr"),
        ("computed", True, "server"),
        ("unanswerable", False, ""),
    ]


def test_pack_has_thirty_questions_of_the_known_form() -> None:
    asked = queries()
    assert len(asked) == 30
    assert sum(not one["answerable"] for one in asked) == 5
    assert len({one["id"] for one in asked}) == len({one["question"] for one in asked}) == 30
    assert {one["doc"] for one in asked} == set(PAGES)
    for one in asked:
        assert set(one) == FIELDS
        assert one["source"] == "mmrag samples" and one["written_by"] == "project authors"
        assert one["answerable"] == bool(one["evidence_pages"]) == bool(one["evidence_boxes"])
        assert one["image_only_evidence"] == (one["answerable"] and one["doc"] == LOG)
    kinds = {kind for one in asked for kind in one["evidence_types"]}
    assert kinds == {"Pure-text", "Table", "Figure", "Chart", "Generalized-text"}


def test_first_answer_of_the_pack_stands_on_its_evidence_page() -> None:
    for one in queries():
        if one["answerable"]:
            with opened(one["doc"]) as document:
                assert any(one["answers"][0] in spoken(document[page]) for page in one["evidence_pages"]), (
                    one["id"]
                )


def test_each_part_of_a_demo_answer_stands_on_its_page() -> None:
    for one in sample_questions():
        for answer, place in zip(one["answers"], one["evidence"], strict=True):
            with opened(place["doc"]) as document:
                assert answer in spoken(document[place["page"]]), one["id"]


def places() -> list[tuple[str, str, dict, str]]:
    """(question id, document, box, answer) of everything with a box."""
    demo = [
        (q["id"], p["doc"], p, a)
        for q in sample_questions()
        for p, a in zip(q["evidence"], q["answers"], strict=True)
    ]
    pack = [(q["id"], q["doc"], box, q["answers"][0]) for q in queries() for box in q["evidence_boxes"]]
    return demo + pack


def test_every_box_lies_in_its_page() -> None:
    for name, doc, box, _ in places():
        with pymupdf.open(sample_documents() / doc) as document:
            page = document[box["page"]]
            assert box["page_size"] == [round(page.rect.width, 2), round(page.rect.height, 2)]
        x0, y0, x1, y1 = box["bbox"]
        assert 0 <= x0 < x1 <= box["page_size"][0] and 0 <= y0 < y1 <= box["page_size"][1], name


def test_every_box_holds_its_answer() -> None:
    for name, doc, box, answer in places():
        with opened(doc) as document:
            around = pymupdf.Rect(box["bbox"])
            inside = " ".join(
                word[4] for word in document[box["page"]].get_text("words") if around.intersects(word[:4])
            )
        assert answer in inside, (name, inside)


def ink(picture: pymupdf.Pixmap, box: tuple[float, float, float, float]) -> float:
    """Mean darkness (0 white, 1 black) of a grey picture of 144 dpi inside a box in points."""
    x0, y0, x1, y1 = (round(edge * 2) for edge in box)
    rows = [picture.samples[y * picture.stride + x0 : y * picture.stride + x1] for y in range(y0, y1)]
    return 1 - sum(map(sum, rows)) / sum(map(len, rows)) / 255


def test_boxes_turned_by_the_skew_hold_the_most_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    # More ink at the skew than level, and more level than turned the wrong way.
    skew = scan.SKEW
    with opened(LOG) as typed, pymupdf.open(sample_documents() / LOG) as scanned:
        for number, page in enumerate(typed):
            picture = scanned[number].get_pixmap(dpi=144, colorspace=pymupdf.csGRAY)
            far = [word[:4] for word in page.get_text("words") if abs(word[0] - scan.A4[0] / 2) > 150]
            found = []
            for factor in (1, 0, -1):
                monkeypatch.setattr(scan, "SKEW", tuple(factor * angle for angle in skew))
                found.append(sum(ink(picture, scan.turned(box, number)) for box in far))
            assert found[0] > found[1] > found[2], number


def test_scan_skew_moves_a_corner_as_the_rotation_does() -> None:
    middle = (scan.A4[0] / 2, scan.A4[1] / 2)
    assert scan.turned((*middle, *middle), 0) == pytest.approx((*middle, *middle))
    x0, y0, _, _ = scan.turned((middle[0] + 100, middle[1], middle[0] + 100, middle[1]), 0)  # 0.55 degrees
    assert (x0 - middle[0], y0 - middle[1]) == pytest.approx((99.995, 0.960), abs=0.001)


def test_only_the_chart_gives_a_chart_away() -> None:
    asked = [(q["doc"], q["answers"][0]) for q in queries() if q["evidence_types"] == ["Chart"]]
    assert len(asked) >= 5
    for doc, answer in asked:
        with opened(doc) as document:
            said = [word[4].strip(".,;") for page in document for word in page.get_text("words")]
        assert said.count(answer) == 1, (doc, answer)  # once: its label in the chart


def test_unanswerable_words_stand_nowhere() -> None:
    with_text = " ".join(spoken(page) for name in PAGES for page in opened(name)).lower()
    for word in ("patent", "nuclear", "euro ", "euros", "paid on"):
        assert word not in with_text
    assert "$7,800" in with_text and "nov 3" in with_text  # the search itself can find


def test_missing_evidence_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"evidence must stand on its page, 'not here' is not on x\.pdf page 0"
    ):
        evidence.find([(0, 0, 1, 1, "here")], "not here", "x.pdf page 0")


def test_documents_name_themselves_and_their_author() -> None:
    for name in set(PAGES) - {LOG}:
        with opened(name) as document:
            assert document.metadata["title"] and document.metadata["author"], name
            assert "Sample document of the mmrag project." in spoken(document[0]), name
