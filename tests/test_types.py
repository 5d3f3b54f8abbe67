"""Laws of the nouns."""

from __future__ import annotations

import pickle

import pytest

from mmrag.types import (
    Answer,
    Budget,
    Candidate,
    Citation,
    Page,
    Query,
    Ranking,
    Record,
    Source,
    Word,
    describe_place,
)

SOURCE = Source("ab" * 32, "pdf", "report.pdf", "/reports/report.pdf")


def page(number: int = 3, label: str = "2") -> Page:
    words = (Word("net", (0.1, 0.1, 0.2, 0.2)),)
    return Page(
        SOURCE.page_id(number), SOURCE.document_id, number, label, "net sales", words, (612, 792), SOURCE
    )


def answer(**changes: object) -> Answer:
    ranking = Ranking(Query("who?"), (Candidate(Record("x", None, "text"), 1.0, 1),))
    citation = Citation(
        1, "x", "net <b>sales</b>", page=page(), kind="table", title="Sales", picture=b"\x89PNG"
    )
    return Answer(**{"text": "a < b [1]", "citations": (citation,), "ranking": ranking, **changes})


def test_a_page_id_is_the_files_digest_and_the_number():
    assert SOURCE.page_id(31) == "abababababababab#p31"


@pytest.mark.parametrize("sides", [(0, 1), (1, 0), (-3, 4), (1.5, 2), (True, 2), ("1", 2)])
def test_a_budget_is_two_whole_numbers_of_at_least_one(sides):
    with pytest.raises(ValueError, match=r"budget\.(query|document) must be a whole number"):
        Budget(*sides)


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_a_query_asks_something(text):
    with pytest.raises(ValueError, match="a query must have text or an image"):
        Query(text)


def test_a_ranking_is_a_sequence_of_candidates():
    ranking = answer().ranking
    assert (len(ranking), ranking[0].id, ranking[0:1], list(ranking)) == (
        1,
        "x",
        ranking.candidates,
        list(ranking.candidates),
    )


def test_a_place_names_the_printed_label_only_where_it_differs():
    differs = Citation(1, "x", "q", page=page(3, "2"), kind="table", title="Sales")
    assert describe_place(differs) == 'report.pdf, page 4 (label 2), table "Sales"'
    assert describe_place(Citation(1, "x", "q", page=page(3, "4"))) == "report.pdf, page 4, text"
    assert describe_place(Citation(1, "note 7", "q")) == "note 7"


def test_a_notebook_shows_the_picture_and_escapes_the_words():
    shown = answer(note="3 pages & more")._repr_html_()
    assert "a &lt; b" in shown and "net &lt;b&gt;sales" in shown and "3 pages &amp; more" in shown
    assert 'src="data:image/png;base64,iVBORw==' in shown


def test_reprs_are_short_and_everything_pickles():
    long = Ranking(
        Query("q"), tuple(Candidate(Record(str(n), None, "word " * 999), 1.0, n) for n in range(9))
    )
    for noun in (long, answer(ranking=long), page()):
        assert len(repr(noun)) < 600
        assert pickle.loads(pickle.dumps(noun)) == noun
