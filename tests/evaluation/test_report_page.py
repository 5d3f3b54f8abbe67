"""The page of a report: what it says is what was measured, and what a pack says never runs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from mmrag.evaluation import AnswerLine, compare_reports, evaluate, load_pack, report_answers
from mmrag.evaluation.answer_lines import CitedQuote
from mmrag.evaluation.page import report_page, save_html
from mmrag.evaluation.page.charts import change_plot, stacked_bar, whisker
from mmrag.evaluation.page.markup import Html, join, tag, text
from mmrag.evaluation.page.pictures import PagePictures
from mmrag.evaluation.page.rows import gather_rows

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202e</style>'
FILE = "<img src=x onerror=alert(3)>.pdf"


class Page(HTMLParser):
    """Elements with their attributes, texts of script and style, and the text that is shown."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.shown = ""
        self._inside: list[str] = []
        self.feed(content)

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name in self.raw:
            self._inside.append(name)

    def handle_endtag(self, name):
        if self._inside and self._inside[-1] == name:
            self._inside.pop()

    def handle_data(self, data):
        if self._inside:
            self.raw[self._inside[-1]].append(data)
        else:
            self.shown += data

    def all(self, name, **attributes):
        return [
            found
            for element, found in self.elements
            if element == name and all(found.get(key) == value for key, value in attributes.items())
        ]


def make_pack(folder, lines, names=("a.pdf", "b.pdf")):
    (folder / "documents").mkdir(parents=True)
    for name in names:
        (folder / "documents" / name).write_bytes(b"")
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return load_pack(folder)


def line_of(id, page, **more):
    line = {
        "id": id,
        "question": f"Where is {id}?",
        "doc": "a.pdf",
        "answerable": True,
        "evidence_pages": [page],
    }
    return line | more


@pytest.fixture
def pack(tmp_path):
    """Right page first; third; of another document first; not found; and a question without an answer."""
    box = {"page": 0, "bbox": [0.1, 0.2, 0.5, 0.3]}
    return make_pack(
        tmp_path / "tiny",
        [
            line_of("first", 0, evidence_boxes=[box], answers=["42"]),
            line_of("third", 2, evidence_types=["Table"]),
            line_of("elsewhere", 4),
            line_of("lost", 9),
            line_of("none", 0, answerable=False, evidence_pages=[]),
        ],
    )


def search(question, within):
    if "elsewhere" in question and not within:
        return [("b.pdf", 0), ("a.pdf", 4)]
    return [("a.pdf", page) for page in range(8)]


def draw(key, pixels):
    return Image.new("RGB", (30, 40), "white")


def page_of(pack, **more):
    data = json.loads(json.dumps(evaluate(pack, search).to_dict()))
    return Page(report_page(pack, data, **more))


def test_what_is_said_is_what_was_measured(pack) -> None:
    page = page_of(pack)
    assert "a right page came first for 1 of 4 questions (25 %), and among the first five for 3" in page.shown
    assert "another page of the right document for 2, another document for 1" in page.shown
    items = page.all("li")
    order = [item["data-position"] for item in items if "data-position" in item]
    assert order == ["3", "1", "2", "0", "4"]
    lost = next(item for item in items if item.get("data-position") == "3")
    assert (lost["data-kinds"], lost["data-pack"]) == ("failure missed page", "99")
    elsewhere = next(item for item in items if item.get("data-position") == "2")
    assert (elsewhere["data-kinds"], elsewhere["data-pack"]) == ("failure document", "2")


def test_ranks_and_causes_by_hand(pack) -> None:
    rows = gather_rows(pack, json.loads(json.dumps(evaluate(pack, search).to_dict())))
    found = [(row.search.rank, row.cause, row.search.rank_class) for row in rows[:4]]
    assert found == [
        (1, "right", "first"),
        (3, "page", "among the first 3"),
        (2, "document", "among the first 3"),
        (None, "page", "not among the first 10"),
    ]
    assert (rows[4].search, rows[4].is_failure) == (None, False)


def test_it_needs_nothing_but_itself(pack) -> None:
    page = page_of(pack, draw=draw)
    content = json.dumps(page.elements)
    assert "http://" not in content and "https://" not in content
    assert [found for found in page.all("script") if found] == page.all("link") == []
    (policy,) = [found["content"] for found in page.all("meta", **{"http-equiv": "Content-Security-Policy"})]
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256("".join(page.raw[name]).encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not [found for _, found in page.elements if "style" in found]  # the policy would not let it be


def test_what_a_pack_says_never_runs(tmp_path) -> None:
    line = line_of(
        HOSTILE, 0, question=HOSTILE, doc=FILE, answers=[HOSTILE], source=HOSTILE, written_by=HOSTILE
    )
    pack = make_pack(tmp_path / "tiny", [line, line_of("b", 0)], (FILE, "a.pdf"))
    quote = CitedQuote(HOSTILE, FILE, 0, ((0, 0, 1, 1),))
    lines = {
        (question.id, scope): AnswerLine(question.id, scope, HOSTILE, False, quotes=(quote,), note=HOSTILE)
        for question in pack.questions
        for scope in ("pack", "document")
    }

    def fail(key, pixels):
        raise ValueError(HOSTILE)

    report = evaluate(pack, lambda question, within: [(FILE, 3), (FILE, 0)]).to_dict()
    report["answers"] = report_answers(pack, lines).to_dict()
    data = json.loads(json.dumps(report))
    for how in (draw, fail):
        page = Page(report_page(pack, data, lines=lines, draw=how))
        assert len(page.all("script")) == len(page.all("style")) == 1
        assert not [key for _, found in page.elements for key in found if key.startswith("on")]
        assert all(found["src"].startswith("data:image/jpeg;base64,") for found in page.all("img"))
        assert "<script>alert(1)</script><img src=x onerror=alert(2)>\\u202e</style>" in page.shown
        assert FILE in page.shown


def test_pictures_are_of_failures_and_few(pack, monkeypatch) -> None:
    drawn = []

    def note(key, pixels):
        drawn.append(key)
        return draw(key, pixels)

    page = page_of(pack, draw=note)
    assert sorted(drawn) == [("a.pdf", 0), ("a.pdf", 2), ("a.pdf", 4), ("a.pdf", 9), ("b.pdf", 0)]
    assert len(page.all("img")) == 6  # two for each of three failures
    assert "Right page (rank 3):" in page.shown and "Right page (not among the first 10):" in page.shown
    monkeypatch.setattr("mmrag.evaluation.page.question_list.MOST_QUESTIONS", 1)
    page = page_of(pack, draw=note)
    assert len(page.all("img")) == 2
    assert "Pictures: of the first 1 of 3 failures." in page.shown


def test_pictures_end_where_the_file_would_be_too_large() -> None:
    pictures = PagePictures(draw, most_bytes=1000)
    figures = [pictures.figure(("a.pdf", page), "Right page:", [], "right") for page in range(4)]
    sizes = [len(Page(figure).all("img")[0]["src"]) if "<img" in figure else 0 for figure in figures]
    assert 0 < sum(sizes) <= 1000 and sizes[-1] == 0
    assert pictures.is_full
    assert "too large" in figures[-1]


def test_a_page_that_cannot_be_drawn_is_told(pack) -> None:
    def fail(key, pixels):
        raise ValueError("it is gone.")

    assert "This page cannot be drawn: it is gone." in page_of(pack, draw=fail).shown


def test_boxes_lie_where_the_pack_and_the_quotes_say(pack) -> None:
    lines = {
        (question.id, scope): AnswerLine(
            question.id, scope, "43", False, quotes=(CitedQuote("43", "a.pdf", 0, ((0.5, 0.5, 0.75, 0.6),)),)
        )
        for question in pack.questions
        for scope in ("pack", "document")
    }
    report = evaluate(pack, search).to_dict()
    report["answers"] = report_answers(pack, lines).to_dict()
    page = Page(report_page(pack, json.loads(json.dumps(report)), lines=lines, draw=draw))
    (evidence,) = page.all("rect", **{"class": "evidence"})
    assert [evidence[key] for key in ("x", "y", "width", "height")] == [
        "0.1000",
        "0.2000",
        "0.4000",
        "0.1000",
    ]
    quotes = page.all("rect", **{"class": "quote"})
    assert {quote["x"] for quote in quotes} == {"0.5000"}
    assert "Of 5 answers: " in page.shown and "1 answered without grounds" in page.shown
    assert (
        page.shown.count("Answer, whole pack and within document: wrong") == 1
    )  # of "first" alone: others are not compared


def test_a_comparison_and_the_stages_are_shown(pack) -> None:
    before = json.loads(json.dumps(evaluate(pack, lambda *_: [("a.pdf", 0)]).to_dict()))
    after = json.loads(json.dumps(evaluate(pack, search).to_dict()))
    after["against"] = compare_reports(pack, before, after, "old.json").to_dict()
    after["without_reranking"] = before
    scores = {("third", "pack"): [{"vectors": 0.75, "rerank": -2.5}] * 8}
    page = Page(report_page(pack, after, earlier=before, scores=scores))
    assert "Against old.json" in page.shown
    assert after["against"]["conclusions"][0] in page.shown
    gains = {item["data-position"]: item["data-gain"] for item in page.all("li") if "data-gain" in item}
    assert gains["1"] == "0.5000" and gains["0"] == "0.0000" and gains["4"] == ""
    assert "-2.50" in page.shown and "reranker" in page.shown


def test_a_report_of_answers_alone_has_a_page(pack, tmp_path) -> None:
    lines = {
        (question.id, "pack"): AnswerLine(question.id, "pack", "42", False) for question in pack.questions
    }
    data = {"answers": json.loads(json.dumps(report_answers(pack, lines).to_dict()))}
    save_html(tmp_path / "page.html", pack, data, lines=lines)
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Of 5 answers: 1 right, 3 not compared, 1 answered without grounds." in page.shown


def test_shares_of_a_bar_are_those_of_the_counts() -> None:
    bar = stacked_bar("Ranks", {"a": 1, "b": 0, "c": 3}, {"a": "x", "b": "y", "c": "z"})
    parts = [found for found in Page(bar).all("rect") if "%" in found["width"]]
    assert [(part["x"], part["width"]) for part in parts] == [("0.000%", "25.000%"), ("25.000%", "75.000%")]
    assert "a: 1 (25 %)" in Page(bar).shown


def test_whiskers_and_changes_stand_where_their_values_are() -> None:
    plot = Page(whisker(0.5, 0.25, 1.0, before=0.4))
    (reach,), (before,) = plot.all("line", **{"class": "reach"}), plot.all("line", **{"class": "before"})
    assert (reach["x1"], reach["x2"], before["x1"]) == ("25.00%", "100.00%", "40.00%")
    assert plot.all("circle")[0]["cx"] == "50.00%"
    bars = Page(change_plot([0.0, -0.5, 0.25])).all("rect")
    assert [(bar["class"], bar["height"]) for bar in bars] == [("better", "0.500"), ("worse", "1.000")]


def test_only_elements_are_html() -> None:
    assert text("a<b&'\"") == "a&lt;b&amp;&#x27;&quot;"
    assert tag("a", "<b>", tag("i", 1), None, class_='x"y', hidden=True, title=None) == (
        '<a class="x&quot;y" hidden>&lt;b&gt;<i>1</i></a>'
    )
    assert join(["<", Html("<br>")]) == "&lt;<br>"
    assert re.fullmatch(r"<img src=\"&quot;\">", tag("img", src='"'))
