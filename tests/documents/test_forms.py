"""Fields of forms: values beside their labels, states of boxes to tick, nothing twice and nothing secret."""

from __future__ import annotations

import itertools
import random

import pymupdf
import pytest
from made_documents import raw_pdf, stream

from mmrag.blocks import Word
from mmrag.documents.pdf.fields import FormField, place_fields, shares_row, with_labels
from mmrag.documents.pdf.pymupdf_renderer import PyMuPdfRenderer

FONT = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
SYMBOLS = "<</Type/Font/Subtype/Type1/BaseFont/ZapfDingbats>>"


def shown(text: str, x: float, y: float, turn: str = "1 0 0 1") -> str:
    return f"BT /F 11 Tf {turn} {x} {y} Tm ({text}) Tj ET\n"


def form(contents: str, *widgets: str, page: str = "", more: tuple[bytes | str, ...] = ()) -> bytes:
    """A page of 400 x 300 points with these widgets; object 5 is Helvetica, 6 ZapfDingbats, 7 on `more`."""
    first = 7 + len(more)
    numbers = [first + position for position in range(len(widgets))]
    references = " ".join(f"{number} 0 R" for number in numbers)
    return raw_pdf(
        f"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[{references}]/DR<</Font<</F 5 0 R/Z 6 0 R>>>>>>>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 300]{page}/Contents 4 0 R/Annots[{references}]"
        "/Resources<</Font<</F 5 0 R/Z 6 0 R>>>>>>",
        stream(contents),
        FONT,
        SYMBOLS,
        *more,
        *widgets,
    )


def widget(kind: str, rect: tuple[float, float, float, float], entries: str) -> str:
    box = " ".join(map(str, rect))
    return f"<</Type/Annot/Subtype/Widget/FT/{kind}/Rect[{box}]{entries}>>"


def drawing(text: str, width: float = 200, font: str = "F") -> bytes:
    """An appearance that shows a text."""
    content = f"/Tx BMC q BT /{font} 11 Tf 2 4 Td ({text}) Tj ET Q EMC"
    return stream(
        content,
        f"/Type/XObject/Subtype/Form/BBox[0 0 {width} 16]/Resources<</Font<</F 5 0 R/Z 6 0 R>>>>",
    )


def renderer(data: bytes) -> PyMuPdfRenderer:
    return PyMuPdfRenderer("form.pdf", "pdf", data, ())


def read(data: bytes):
    return renderer(data).read(0)


def lines(data: bytes) -> list[str]:
    return [line for line in read(data).text.split("\n") if line]


NAME = shown("Name of vessel:", 40, 250)
PORT = shown("Home port:", 40, 220)
FIELD = (150, 246, 350, 262)
SECOND = (150, 216, 350, 232)


def test_values_stand_beside_their_labels_drawn_or_not():
    data = form(
        NAME + PORT,
        widget("Tx", FIELD, "/T(vessel)/V(Grey Heron)/DA(/F 11 Tf 0 g)/AP<</N 7 0 R>>"),
        widget("Tx", SECOND, "/T(port)/V(Maldon Quay)/DA(/F 11 Tf 0 g)/AP<</N 8 0 R>>"),
        more=(drawing("Grey Heron"), drawing("")),
    )
    assert lines(data) == ["Name of vessel: Grey Heron", "Home port: Maldon Quay"]
    boxes = {word.text: word.box for word in read(data).words}
    for text, rect in (("Heron", FIELD), ("Maldon", SECOND)):
        x0, y0, x1, y1 = boxes[text]
        assert rect[0] <= 400 * x0 < 400 * x1 <= rect[2]
        assert rect[1] <= 300 * (1 - y1) + 2 and 300 * (1 - y0) <= rect[3] + 2
        assert x1 - x0 < 0.4, "a word, not the whole field"


def test_fields_come_with_label_value_and_kind():
    data = form(
        NAME + PORT + shown("Over 18", 60, 190),
        widget("Tx", FIELD, "/T(vessel)/V(Grey Heron)/AP<</N 7 0 R>>"),
        widget("Ch", SECOND, "/T(port)/Ff 131072/V(MQ)/Opt[[(MQ)(Maldon Quay)][(HB)(Heybridge)]]"),
        widget("Btn", (40, 188, 52, 200), "/T(adult)/V/Yes/AS/Yes/AP<</N<</Yes 8 0 R/Off 9 0 R>>>>"),
        more=(drawing("Grey Heron"), drawing("4", 12, "Z"), drawing("", 12)),
    )
    assert [(f.kind, f.label, f.value, f.is_on) for f in renderer(data).form_fields(0)] == [
        ("text", "Name of vessel:", "Grey Heron", None),
        ("choice", "Home port:", "Maldon Quay", None),
        ("tick", "Over 18", "", True),
    ]
    assert lines(data) == ["Name of vessel: Grey Heron", "Home port: Maldon Quay", "☑ Over 18"]


def test_ticks_and_radio_buttons_show_their_state_once():
    """A tick is a letter of ZapfDingbats, a chosen button a drawn dot, an empty one nothing."""
    more = (drawing("3", 12, "Z"), drawing("", 12), stream("0 0 9 9 re f", "/Subtype/Form/BBox[0 0 12 12]"))
    states = "/AP<</N<</On 7 0 R/Off 8 0 R>>>>"
    dots = "/AP<</N<</{0} 9 0 R/Off 8 0 R>>>>"
    ticks = ["Electricity", "Water", "Both", "Neither"]
    text = "".join(shown(name, 60 + 85 * position, 250) for position, name in enumerate(ticks))
    text += shown("Paid by", 40, 220) + shown("card", 120, 220) + shown("cash", 200, 220)
    widgets = [
        widget("Btn", (44 + 85 * p, 248, 56 + 85 * p, 260), f"/T(t{p})/AS/{('On', 'Off')[p % 2]}{states}")
        for p in range(4)
    ]
    radio = "/Ff 32768/T(paid)/V/Cash"
    widgets.append(widget("Btn", (104, 218, 116, 230), f"{radio}/AS/Off{dots.format('Card')}"))
    widgets.append(widget("Btn", (184, 218, 196, 230), f"{radio}/AS/Cash{dots.format('Cash')}"))
    data = form(text, *widgets, more=more)
    assert lines(data) == ["☑ Electricity ☐ Water ☑ Both ☐ Neither", "Paid by ○ card ◉ cash"]
    fields = renderer(data).form_fields(0)
    assert [(f.label, f.is_on) for f in fields[:4]] == list(zip(ticks, [True, False] * 2, strict=True))
    assert [(f.kind, f.label, f.is_on) for f in fields[4:]] == [
        ("radio", "card", False),
        ("radio", "cash", True),
    ]


def test_a_box_with_its_label_at_the_left_and_a_printed_square_under_it():
    text = shown("Electricity needed", 40, 250) + shown("o", 200, 250)
    button = widget("Btn", (197, 248, 209, 260), "/T(e)/AS/Yes/AP<</N<</Yes 7 0 R>>>>")
    data = form(text, button, more=(drawing("8", 12, "Z"),))
    assert lines(data) == ["Electricity needed ☑"]
    assert renderer(data).form_fields(0)[0].label == "Electricity needed"


def test_a_password_is_never_shown_and_hidden_fields_neither():
    for value in ("/AP<</N 7 0 R>>", ""):
        data = form(
            NAME + PORT,
            widget("Tx", FIELD, f"/T(secret)/Ff 8192/V(opensesame)/DA(/F 11 Tf 0 g){value}"),
            widget("Tx", SECOND, "/T(a)/F 2/V(unseen)"),
            widget("Tx", (150, 180, 350, 196), "/T(b)/F 32/V(unseen)"),
            more=(drawing("opensesame"),),
        )
        assert lines(data) == ["Name of vessel:", "Home port:"]
        assert [(f.kind, f.value) for f in renderer(data).form_fields(0)] == [("password", "")]


def test_a_value_cut_off_by_its_field_and_a_spaced_one_are_whole():
    comb = "".join(
        f"BT /F 11 Tf {4 + 20 * place} 4 Td ({digit}) Tj ET " for place, digit in enumerate("54321")
    )
    data = form(
        NAME + PORT,
        widget("Tx", FIELD, "/T(vessel)/V(Grey Heron of the Marshes)/AP<</N 7 0 R>>"),
        widget("Tx", SECOND, "/T(n)/Ff 16777216/MaxLen 5/V(54321)/AP<</N 8 0 R>>"),
        more=(
            drawing("Grey Heron of t"),
            stream(comb, "/Subtype/Form/BBox[0 0 200 16]/Resources<</Font<</F 5 0 R>>>>"),
        ),
    )
    assert lines(data) == ["Name of vessel: Grey Heron of the Marshes", "Home port: 54321"]


def test_a_formatted_value_is_shown_as_it_is_drawn():
    data = form(NAME, widget("Tx", FIELD, "/T(v)/V(1234)/AP<</N 7 0 R>>"), more=(drawing("1,234.00 EUR"),))
    assert lines(data) == ["Name of vessel: 1,234.00 EUR"]


def test_a_list_says_which_options_are_selected():
    drawn = "BT /F 11 Tf 2 34 Td (Red) Tj 0 -14 Td (Green) Tj ET"
    listing = stream(drawn, "/Subtype/Form/BBox[0 0 200 46]/Resources<</Font<</F 5 0 R>>>>")
    data = form(
        shown("Colours:", 40, 250),
        widget("Ch", (150, 216, 350, 262), "/T(c)/V(Green)/Opt[(Red)(Green)(Blue)]/AP<</N 7 0 R>>"),
        more=(listing,),
    )
    assert lines(data) == ["Colours: ☐ Red", "☑ Green"]
    assert renderer(data).form_fields(0)[0].value == "Green"


def test_a_field_without_a_printed_label_has_its_tooltip_or_name():
    data = form(
        "",
        widget("Tx", FIELD, "/T(form1[0].p1[0].HomePort[0])/V(Maldon)/AP<</N 7 0 R>>"),
        widget("Tx", SECOND, "/T(x)/TU(Name of the vessel)/V(Heron)/AP<</N 8 0 R>>"),
        more=(drawing("Maldon"), drawing("Heron")),
    )
    assert lines(data) == ["Home Port: Maldon", "Name of the vessel: Heron"]


def test_values_under_a_row_of_labels_are_a_row():
    texts = ("Surname", "First name", "Born")
    values = ("Achterberg", "Ida", "1931")
    data = form(
        "".join(shown(text, 40 + 110 * place, 250) for place, text in enumerate(texts)),
        *(
            widget("Tx", (40 + 110 * p, 230, 140 + 110 * p, 246), f"/T(f{p})/V({v})/AP<</N {7 + p} 0 R>>")
            for p, v in enumerate(values)
        ),
        more=tuple(drawing(value, 100) for value in values),
    )
    assert lines(data) == ["Surname First name Born", "Achterberg Ida 1931"]
    fields = renderer(data).form_fields(0)
    assert [(field.label, field.value) for field in fields] == list(zip(texts, values, strict=True))


def test_a_form_shown_turned_has_its_words_where_they_are_seen():
    """A sideways page with text and field drawn for `/Rotate 90`."""
    turn = "0 1 -1 0"
    up = stream(
        "BT /F 11 Tf 0 1 -1 0 12 2 Tm (Grey Heron) Tj ET",
        "/Subtype/Form/BBox[0 0 16 200]/Resources<</Font<</F 5 0 R>>>>",
    )
    data = form(
        shown("Name of vessel:", 50, 40, turn),
        widget("Tx", (38, 150, 54, 299), "/T(v)/V(Grey Heron)/AP<</N 7 0 R>>"),
        page="/Rotate 90",
        more=(up,),
    )
    page = read(data)
    assert page.size == (300, 400)
    assert page.text.split() == ["Name", "of", "vessel:", "Grey", "Heron"]
    boxes = [word.box for word in page.words]
    assert all(shares_row(boxes[0], box) for box in boxes)
    assert all(left[2] <= right[0] + 0.01 for left, right in itertools.pairwise(boxes))


def test_a_broken_field_costs_itself():
    data = form(
        NAME,
        widget("Tx", FIELD, "/T(v)/V 99 0 R/AP<</N 7 0 R>>"),
        widget("Xx", SECOND, "/Kids[8 0 R]/Parent 8 0 R"),
        "<</Type/Annot/Subtype/Widget/Rect[1 2]>>",
        more=(drawing("Heron"),),
    )
    page = read(data)
    assert "Name of vessel:" in page.text and "Heron" in page.text


# ---- placing, on words alone -----------------------------------------------------------------------


def random_form(rng: random.Random):
    """Labels in a grid, a field right of each, some drawn; the blocks as a file gives them: values last."""
    rows, columns = rng.randint(1, 8), rng.randint(1, 3)
    labels, fields, drawn = [], [], []
    for row in range(rows):
        for column in range(columns):
            x, y = 0.05 + 0.3 * column, 0.1 + 0.1 * row
            name = f"L{row}{column}:"
            labels.append((Word(name, (x, y, x + 0.06, y + 0.02)),))
            box = (x + 0.07, y - 0.005, x + 0.25, y + 0.025)
            if rng.random() < 0.3:
                fields.append(FormField("tick", (x + 0.07, y, x + 0.09, y + 0.02), is_on=rng.random() < 0.5))
                continue
            value = rng.choice(["", f"v{row}{column}", f"v{row}{column} w{row}{column}"])
            fields.append(FormField("text", box, value))
            if value and rng.random() < 0.5:
                places = enumerate(value.split())
                drawn += [
                    Word(text, (x + 0.08 + 0.05 * p, y, x + 0.12 + 0.05 * p, y + 0.02)) for p, text in places
                ]
    order = list(range(len(fields)))
    rng.shuffle(order)
    blocks = (*((label,) for label in labels), *(((word,),) for word in drawn))
    return labels, fields, [fields[p] for p in order], drawn, blocks


@pytest.mark.parametrize("seed", range(40))
def test_every_value_follows_its_label_whatever_the_order_in_the_file(seed):
    labels, fields, shuffled, drawn, blocks = random_form(random.Random(seed))
    words = [word.text for block in place_fields(blocks, shuffled, drawn) for line in block for word in line]
    expected = []
    for (label,), field in zip(labels, fields, strict=True):
        expected += [label.text, *(field.value.split() or [field.mark])]
    assert words == [text for text in expected if text]
    names = {field.box: field.label for field in with_labels(tuple((label,) for label in labels), shuffled)}
    assert [names[field.box] for field in fields] == [label.text for (label,) in labels]


def test_a_page_without_fields_stays_as_it_is():
    block = ((Word("a", (0, 0, 0.1, 0.1)), Word("b", (0.2, 0, 0.3, 0.1))),)
    assert place_fields((block,), (), ()) == (block,)


def test_a_form_of_pymupdf_is_read_back():
    """Independent of the writer above: what another library wrote."""
    document = pymupdf.open()
    page = document.new_page(width=400, height=300)
    for row, (label, value) in enumerate([("Name:", "Ann Lee"), ("Town:", "Maldon")]):
        page.insert_text((40, 60 + 40 * row), label)
        field = pymupdf.Widget()
        field.field_type, field.field_name = pymupdf.PDF_WIDGET_TYPE_TEXT, label[:-1]
        field.field_value, field.rect = value, pymupdf.Rect(120, 48 + 40 * row, 300, 64 + 40 * row)
        page.add_widget(field)
    assert lines(document.tobytes()) == ["Name: Ann Lee", "Town: Maldon"]
