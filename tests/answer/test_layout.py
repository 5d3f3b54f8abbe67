"""What a page's words say of its structure, on pages whose structure is known."""

import random
from dataclasses import replace

import pytest

from mmrag.answer.layout import read_layout, read_page, read_text
from mmrag.answer.lines import is_number, is_period, make_runs
from mmrag.documents.structure.turning import turn_box
from mmrag.types import Word

CLEAN = {}
SCANNED = {"jitter": 0.8, "slope": 0.015}
NOISE = [pytest.param(CLEAN, id="clean"), pytest.param(SCANNED, id="scanned")]


def cells(table):
    return [[row.header.text, *(cell.text for cell in row.cells)] for row in table.rows]


def names(table):
    return [table.column_name(n) for n in range(len(table.columns))]


def test_no_words_give_an_empty_layout():
    layout = read_layout((), (100, 100))
    assert (layout.paragraphs, layout.tables, layout.charts, layout.fields) == ((), (), (), ())


def test_words_without_area_are_left_out():
    words = (Word("seen", (0.1, 0.1, 0.2, 0.12)), Word("flat", (0.3, 0.1, 0.3, 0.12)))
    assert [run.text for run in make_runs(words, (595, 842))] == ["seen"]


@pytest.mark.parametrize("noise", NOISE)
def test_a_table_is_read_by_row_and_column(sheets, noise):
    (table,) = read_page(sheets["financial"].page(**noise)).tables
    assert table.caption.text == "Table 3: Net sales by region"
    assert table.units.text == "(in millions of dollars)"
    assert table.corner.text == "Region"
    assert names(table) == ["2024", "2023", "Change"]
    assert cells(table) == [
        ["Europe", "24.1", "25.1", "(4.0)%"],
        ["Asia", "18.7", "15.2", "23.0%"],
        ["North America", "31.5", "30.9", "1.9%"],
        ["Total net sales", "74.3", "71.2", "4.4%"],
    ]
    assert [row.is_total for row in table.rows] == [False, False, False, True]


@pytest.mark.parametrize("noise", NOISE)
def test_a_header_over_two_columns_names_both(sheets, noise):
    (table,) = read_page(sheets["two_headers"].page(**noise)).tables
    assert names(table) == [
        "Revenue 2024", "Revenue 2023", "Operating profit 2024", "Operating profit 2023",
    ]  # fmt: skip


def test_rows_know_their_group_and_an_empty_cell_stays_empty(sheets):
    (table,) = read_page(sheets["two_headers"].page()).tables
    groups = {row.header.text: [group.text for group in row.groups] for row in table.rows}
    assert groups == {
        "Sensors": ["Instruments"], "Pumps": ["Instruments"], "Repair": ["Services"],
        "Training and certification": ["Services"], "Total": [],
    }  # fmt: skip
    pumps = table.rows[1]
    assert [cell.text for cell in pumps.cells] == ["85", "90", "12", ""]
    assert pumps.cells[3].box is None


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_page_that_lies_turned_is_read_as_if_upright_and_boxes_stay(sheets, degrees):
    page = sheets["financial"].page()
    words = tuple(replace(word, box=turn_box(word.box, degrees)) for word in page.words)
    size = page.size if degrees == 180 else page.size[::-1]
    upright, turned = read_layout(page.words, page.size), read_layout(words, size)
    assert cells(turned.tables[0]) == cells(upright.tables[0])
    (word,) = [word for word in words if word.text == "18.7"]
    assert turned.tables[0].rows[1].cells[0].box == word.box


def test_a_cell_box_is_where_its_words_are(sheets):
    page = sheets["financial"].page()
    (table,) = read_page(page).tables
    (word,) = [word for word in page.words if word.text == "18.7"]
    assert table.rows[1].cells[0].box == word.box


def test_lines_of_a_cell_belong_to_one_row(blank_sheet):
    sheet = blank_sheet()
    for x, text in ((60, "DATE"), (120, "PUMP"), (180, "WORK DONE"), (480, "INIT.")):
        sheet.text(x, 100, text)
    rows = (("02 MAR", "P1", "Weekly check, greased both", "R.H.", "bearings."),
            ("09 MAR", "P2", "Vibration high. Pump", "D.P.", "stopped."),
            ("14 MAR", "P2", "New impeller fitted, part no.", "D.P.", "AK 4471."))  # fmt: skip
    for number, (date, pump, text, initials, more) in enumerate(rows):
        y = 130 + 40 * number
        sheet.text(60, y, date).text(120, y, pump).text(180, y, text).text(480, y, initials)
        sheet.text(180, y + 13, more)
    (table,) = read_page(sheet.page()).tables
    assert cells(table)[2] == ["14 MAR", "P2", "New impeller fitted, part no. AK 4471.", "D.P."]
    assert names(table) == ["PUMP", "WORK DONE", "INIT."]


def test_a_currency_sign_belongs_to_its_figure(blank_sheet):
    sheet = blank_sheet()
    sheet.text(330, 90, "2024", right=True).text(430, 90, "2023", right=True)
    for number, (name, a, b) in enumerate((("Wages", "1,200", "1,100"), ("Rent", "(310)", "290"))):
        y = 110 + 15 * number
        sheet.text(60, y, name).text(290, y, "$").text(330, y, a, right=True)
        sheet.text(390, y, "$").text(430, y, b, right=True)
    (table,) = read_page(sheet.page()).tables
    assert cells(table) == [["Wages", "$ 1,200", "$ 1,100"], ["Rent", "$ (310)", "$ 290"]]


def test_prose_with_figures_is_no_table(blank_sheet):
    sheet = blank_sheet()
    sheet.lines(60, 100, [
        "In 2023 the society had 412 members, of whom 118 paid by bank order and the rest in cash, which",
        "is 31 more than in 2022. The fee was raised from 12 to 15 euros in May, and 9 members left, so that",
        "403 remain. The books were checked on 14 June by two members, who found an error of 3 euros.",
    ])  # fmt: skip
    layout = read_page(sheet.page())
    assert layout.tables == ()
    assert len(layout.paragraphs[0].sentences) == 3


@pytest.mark.parametrize("noise", NOISE)
def test_a_bar_has_the_value_over_its_category(sheets, noise):
    (chart,) = read_page(sheets["bars"].page(**noise)).charts
    assert chart.title.text == "Figure 2: Generation by source, 2024 (gigawatt hours)"
    assert [(p.category, p.value) for p in chart.points] == [
        ("Solar", "2,310"), ("Onshore wind", "3,050"), ("Offshore wind", "4,180"), ("Hydro", "1,120"),
    ]  # fmt: skip


def test_ticks_of_an_axis_are_no_values(blank_sheet):
    sheet = blank_sheet()
    sheet.text(60, 80, "Figure 6: Ships by month")
    for step in range(6):  # the axis stands inside the first bar's half of the step
        sheet.text(122, 400 - 40 * step, str(step * 10), 9, right=True)
    for x, month, value in ((150, "May", 31), (240, "June", 44), (330, "July", 18)):
        sheet.text(x, 396 - 4 * value, str(value), 9, centre=True).text(x, 416, month, 9, centre=True)
    (chart,) = read_page(sheet.page()).charts
    assert [(p.category, p.value) for p in chart.points] == [("May", "31"), ("June", "44"), ("July", "18")]


def test_a_page_scanned_askew_is_read_by_its_rows(sheets):
    """Two degrees move the right end of a row down by a whole row."""
    (straight,) = read_page(sheets["financial"].page()).tables
    (askew,) = read_page(sheets["financial"].page(slope=0.035)).tables
    assert cells(askew) == cells(straight)


def test_a_lying_bar_has_the_value_at_its_end(blank_sheet):
    sheet = blank_sheet()
    sheet.text(60, 80, "Chart 4: Visitors by museum")
    for number, (name, value) in enumerate((("Harbour", 900), ("Castle", 560), ("Mill", 210))):
        sheet.text(150, 130 + 45 * number, name, right=True).text(
            160 + value / 3, 130 + 45 * number, str(value)
        )
    layout = read_page(sheet.page())
    assert layout.tables == ()
    assert [(p.category, p.value) for p in layout.charts[0].points] == [
        ("Harbour", "900"), ("Castle", "560"), ("Mill", "210"),
    ]  # fmt: skip


def test_bars_of_a_category_take_the_legend_in_order(blank_sheet):
    sheet = blank_sheet()
    sheet.text(60, 60, "Figure 1: Guests by season")
    sheet.text(200, 85, "Summer", centre=True).text(300, 85, "Winter", centre=True)
    for number, (name, a, b) in enumerate((("North", 310, 120), ("South", 280, 170), ("East", 90, 60))):
        x = 140 + 120 * number
        sheet.text(x - 18, 380 - a / 2, str(a), centre=True).text(x + 18, 380 - b / 2, str(b), centre=True)
        sheet.text(x, 400, name, centre=True)
    (chart,) = read_page(sheet.page()).charts
    assert [(p.category, p.series, p.value) for p in chart.points][:2] == [
        ("North", "Summer", "310"), ("North", "Winter", "120"),
    ]  # fmt: skip


def test_a_slice_is_labelled_with_its_share(blank_sheet):
    sheet = blank_sheet()
    sheet.text(60, 60, "Figure 3: Energy use by sector")
    for x, y, text in ((120, 140, "Transport 34%"), (330, 170, "Homes 27%"), (300, 300, "Industry 39%")):
        sheet.text(x, y, text)
    (chart,) = read_page(sheet.page()).charts
    assert {(p.category, p.value) for p in chart.points} == {
        ("Transport", "34%"), ("Homes", "27%"), ("Industry", "39%"),
    }  # fmt: skip


@pytest.mark.parametrize("noise", NOISE)
def test_columns_of_text_are_read_one_after_the_other(sheets, noise):
    layout = read_page(sheets["two_columns"].page(**noise))
    sentences = [s.text for p in layout.paragraphs if p.kind == "text" for s in p.sentences]
    assert sentences[0] == "We study how well a small camera reads water meters after dark."
    assert sentences[3].startswith("The readers agreed in 98.2% of all cases, e.g. when glass was clean,")
    assert sentences[4] == "Our best model reaches an accuracy of 93.4% on the held-out homes."
    assert "Prof. A. Keller suggested the heated lens that removed half of them." in sentences
    heads = [p.sentences[0].text for p in layout.paragraphs if p.kind == "heading"]
    assert heads == ["Reading meters at night with cheap cameras", "2 Data", "3 Results"]


def test_a_sentence_stands_under_its_heading(sheets):
    layout = read_page(sheets["two_columns"].page())
    (found,) = [p for p in layout.paragraphs if p.kind == "text" and "accuracy" in p.sentences[0].text]
    assert found.headings[-1].text == "3 Results"


@pytest.mark.parametrize("noise", NOISE)
def test_fields_of_a_form(sheets, noise):
    fields = {f.label.text.rstrip(":"): f.value.text for f in read_page(sheets["form"].page(**noise)).fields}
    assert fields == {
        "Policy number": "12-345", "Policy holder": "Anna Lindqvist", "Valid until": "31 March 2026",
        "Excess": "$ 450", "Place of accident": "Corner of Mill Lane and Harbour Street",
        "Date": "4 February 2025", "Time": "17:40", "Registration": "KLM 471", "Make and model": "Volvo V60",
    }  # fmt: skip


def test_bullets_are_items_under_their_heading(sheets):
    layout = read_page(sheets["slide"].page())
    items = [p for p in layout.paragraphs if p.kind == "item"]
    assert [item.headings[-1].text for item in items] == ["Priorities for 2026"] * 3
    assert items[1].sentences[0].text.endswith("Cut delivery time to two days")


def test_the_order_of_the_words_does_not_matter(sheets):
    page = sheets["financial"].page()
    shuffled = list(page.words)
    random.Random(7).shuffle(shuffled)
    assert read_layout(shuffled, page.size).tables == read_layout(page.words, page.size).tables


@pytest.mark.parametrize("seed", range(20))
def test_any_words_are_read_without_an_error_and_none_is_invented(seed):
    noise = random.Random(seed)
    texts = [
        "12",
        "(4.1)%",
        "Total",
        "$",
        "2024",
        "Table",
        "1:",
        "•",
        "a",
        "the",
        "Name:",
        "é",
        "—",
        "...",
        "B2",
    ]
    words = []
    for _ in range(noise.randint(1, 120)):
        x, y = noise.random(), noise.random()
        words.append(Word(noise.choice(texts), (x, y, x + 0.04 * noise.random(), y + 0.02 * noise.random())))
    layout = read_layout(words, (595, 842))
    known = {id(word) for word in words}
    said = [w for p in layout.paragraphs for s in p.sentences for w in s.words]
    said += [w for t in layout.tables for w in t.words]
    said += [w for f in layout.fields for w in f.label.words + f.value.words]
    assert all(id(word) in known for word in said)


def test_plain_text_is_read_by_its_lines():
    layout = read_text(
        "# Rivers\n\nThe Elm is 40 km long. It ends at Dr. Hale's mill.\n\nLength: 40 km\n- first\n- second"
    )
    assert [p.kind for p in layout.paragraphs] == ["heading", "text", "item", "item"]
    assert [s.text for s in layout.paragraphs[1].sentences] == [
        "The Elm is 40 km long.", "It ends at Dr. Hale's mill.",
    ]  # fmt: skip
    assert (layout.fields[0].label.text, layout.fields[0].value.text) == ("Length:", "40 km")


@pytest.mark.parametrize(
    "text", ["24.1", "(4.0)%", "$1,234.50", "1 234", "-3", "US$5", "12%", "3.2x", "€ 4m", "17*"]
)
def test_figures(text):
    assert is_number(text)


@pytest.mark.parametrize("text", ["Europe", "12-345", "AK 4471", "4 February", "", "Q3 2024", "x", "1.2.3"])
def test_no_figures(text):
    assert not is_number(text)


@pytest.mark.parametrize("text", ["2024", "FY23", "Q3", "Q3 2024", "2023/24", "1H25"])
def test_periods(text):
    assert is_period(text)


@pytest.mark.parametrize("text", ["24.1", "3024", "Queen", "H", "20,240"])
def test_no_periods(text):
    assert not is_period(text)


def test_a_line_that_runs_across_tells_no_columns_width():
    """A footnote under centred columns once took half of "14 months" into the name of its row."""
    page = next(c for c in read_sample("product-launch-deck.pdf") if "Better in everything" in c.text)
    (table,) = read_page(page).tables
    rows = {row.header.text: [cell.text for cell in row.cells] for row in table.rows}
    assert rows["Battery life"] == ["14 months", "36 months", "12 to 18 months"]
    assert rows["Weight"] == ["6.4 kg", "3.9 kg", "5 to 8 kg"]


def read_sample(name):
    """The pages of a sample document."""
    from mmrag.documents import DocumentReader, ReaderSettings, discover
    from mmrag.samples import sample_documents

    with DocumentReader(ReaderSettings(ocr="off", workers=1)) as reader:
        (found,) = discover(sample_documents() / name)
        return list(reader.pages(found))
