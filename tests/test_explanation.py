"""What a question matched on a page: shares of the score, laid on the words that each row has seen."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import mmrag
from mmrag import Budget, DocumentQA, MiniEmbedder
from mmrag.embedders.mini.located import parts_of
from mmrag.embedders.mini.row_boxes import line_boxes
from mmrag.explanation import HEAT, Explanation, RowMatch
from mmrag.types import Word

QUESTION = "How hot should green tea be?"
TEXT = "\n".join(
    [
        "The blue whale is the largest animal that has ever lived on this planet of ours.",
        "It eats four tonnes of krill a day, sings at twenty hertz and dives for an hour.",
        "Its heart is as large as a small car, and its tongue weighs as much as an elephant.",
        "Calves drink two hundred litres of milk a day and gain ninety kilograms with it.",
        "Green tea is steeped at eighty degrees Celsius, never with water that still boils.",
        "Two minutes are enough for most leaves; longer makes them bitter and brown.",
        "Black tea wants ninety five degrees and four minutes, white tea seventy five.",
        "The pot is warmed with hot water first and the leaves are given room to open.",
    ]
)


@pytest.fixture(scope="module")
def qa(tmp_path_factory, make_pdf):
    folder = tmp_path_factory.mktemp("explanation")
    with DocumentQA.open(folder / "index", embedder=MiniEmbedder(), reranker=None) as qa:
        qa.add(make_pdf(folder / "a.pdf", [TEXT, "Another page, of other things."]))
        qa.add_texts(["A note on tea."], ids=["note"])
        yield qa


def first_page(qa):
    return next(id for id in qa.index.ids() if id.endswith("#p0"))


def test_shares_are_of_the_score_and_sum_to_one(qa):
    id = first_page(qa)
    explanation = mmrag.explain(qa, QUESTION, id)
    [hit] = qa.index.score(qa.embedder.encode_query([QUESTION])[0], [id])

    assert sum(match.share for match in explanation.matches) == pytest.approx(1)
    assert explanation.score == pytest.approx(hit.score, rel=1e-3)
    assert [match.share for match in explanation.matches] == sorted(
        (match.share for match in explanation.matches), reverse=True
    )


def test_each_row_lies_on_the_words_that_it_has_seen(qa):
    [record] = qa.index.get([first_page(qa)])
    tokenizer = qa.embedder._load_encoder().tokenizer
    boxes = qa.embedder.row_boxes(record.page)
    parts = parts_of(len(tokenizer.tokenize(record.text)), most=64)

    assert len(boxes) == len(parts) > 3
    assert len(boxes[0]) == 8  # row 0 has seen every line
    for row_boxes, part in zip(boxes[1:], parts[1:], strict=True):
        assert len(row_boxes) < 8 and part.level > 0
        assert all(0 <= edge <= 1 for box in row_boxes for edge in box)


def test_the_row_that_gave_most_has_seen_the_line_that_was_asked_for(qa):
    explanation = mmrag.explain(qa, QUESTION, first_page(qa))
    [record] = qa.index.get([first_page(qa)])
    line = next(word.box for word in record.page.words if word.text == "Green")

    assert any(box[1] <= (line[1] + line[3]) / 2 <= box[3] for box in explanation.matches[0].boxes)
    shades = [shade for _, shade in explanation.boxes()]
    assert max(shades) == 1 and min(shades) > 0
    assert "not where the answer is" in explanation.note


def test_a_budget_takes_the_first_rows_alone(qa):
    [match] = mmrag.explain(qa, QUESTION, first_page(qa), budget=Budget(1, 1)).matches
    assert (match.row, match.share) == (0, 1) and len(match.boxes) == 8


def test_without_boxes_it_says_so(qa):
    explanation = mmrag.explain(qa, QUESTION, "note")
    assert explanation.page is None and explanation.boxes() == []
    assert "cannot be laid on the page" in explanation.note
    with pytest.raises(KeyError, match="must be of a record"):
        mmrag.explain(qa, QUESTION, "nothing")


def test_words_of_a_line_are_one_box():
    words = [
        Word("a", (0.1, 0.1, 0.2, 0.12)),
        Word("b", (0.21, 0.101, 0.3, 0.121)),
        Word("c", (0.1, 0.2, 0.2, 0.22)),
    ]
    assert line_boxes(words) == [(0.1, 0.1, 0.3, 0.121), (0.1, 0.2, 0.2, 0.22)]
    assert line_boxes([]) == []


# ---- the heat map ----


def explanation_of(*matches):
    return Explanation(None, 1.0, tuple(matches), "")


def test_a_line_is_as_dark_as_its_share():
    top, bottom = (0.0, 0.0, 1.0, 0.25), (0.0, 0.5, 1.0, 0.75)
    rows = [RowMatch(0, 0.8, (top,)), RowMatch(1, 0.4, (bottom,))]
    picture = Image.new("RGB", (40, 80), "white")
    picture.putpixel((5, 5), (0, 0, 0))  # a letter

    drawn = explanation_of(*rows).draw(picture)

    assert drawn.size == picture.size and drawn is not picture
    assert drawn.getpixel((20, 10)) == HEAT
    assert drawn.getpixel((5, 5)) == (0, 0, 0)
    assert drawn.getpixel((20, 30)) == drawn.getpixel((20, 70)) == (255, 255, 255)
    half = [(255 + part) / 2 for part in HEAT]
    assert drawn.getpixel((20, 50)) == pytest.approx(half, abs=2)
    assert picture.getpixel((20, 10)) == (255, 255, 255)


def test_without_boxes_the_heat_map_is_the_page():
    picture = Image.effect_noise((30, 30), 80)
    drawn = explanation_of(RowMatch(0, 1.0)).draw(picture)
    assert drawn.tobytes() == picture.convert("RGB").tobytes()


def test_the_heat_map_of_a_page_marks_the_lines_that_counted(qa):
    explanation = mmrag.explain(qa, QUESTION, first_page(qa))
    page = qa.render(explanation.page)
    changed = np.asarray(explanation.draw(page)) != np.asarray(page.convert("RGB"))
    (box, _), *_ = sorted(explanation.boxes(), key=lambda pair: -pair[1])
    x, y = (box[0] + box[2]) / 2 * page.width, (box[1] + box[3]) / 2 * page.height
    assert changed[round(y) - 8 : round(y) + 8, round(x) - 40 : round(x) + 40].any()
    assert not changed[:8].any()  # the margin
