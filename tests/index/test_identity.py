"""Which documents a question names, in every home of an index."""

import math
import random
import sqlite3
from dataclasses import replace

import pytest

from mmrag.index.chroma import ChromaIndex
from mmrag.index.identity import LATEST_BONUS, DocumentNames, term_information
from mmrag.index.lexical import lexical_terms, query_terms
from mmrag.index.memory import MemoryIndex
from mmrag.types import Record

from .conftest import make_page, make_records


def chroma(tmp_path, identity):
    return ChromaIndex.open(tmp_path / "index", identity)


def memory(tmp_path, identity):
    return MemoryIndex.for_embedder(identity)


@pytest.fixture(params=[memory, chroma], ids=["memory", "chroma"])
def index(request, tmp_path, identity):
    index = request.param(tmp_path, identity)
    yield index
    index.close()


def document(letter: str, context: str, *texts: str) -> list[Record]:
    """Pages of a document whose digest is made of one letter."""
    pages = [make_page(number, sha256=letter * 64, text=text) for number, text in enumerate(texts)]
    matrices = make_records(len(texts), seed=ord(letter))
    return [
        Record(page.id, record.matrix, page.text, page=page, context=context)
        for page, record in zip(pages, matrices, strict=True)
    ]


def key(letter: str) -> str:
    return letter * 16


REPORTS = [
    *document("a", "norland 2024 Q1", "Norland Cables report", "sales of cables 5"),
    *document("b", "norland 2024 Q2", "Norland Cables report", "sales of cables 6"),
    *document("c", "oakmere 2024 Q1", "Oakmere Foods report", "sales of jam 7", "cables were bought"),
    *document("d", "oakmere 2024 Q2", "Oakmere Foods report", "sales of jam 8"),
]


def test_scores_by_hand(index):
    index.add(REPORTS)
    names = index.name_documents("How much jam did Oakmere sell?")
    # in two of four names, and on the pages of these two alone; nobody's name has jam
    expected = math.log(1 + 2.5 / 2.5)
    assert names.scores == {key("c"): pytest.approx(expected), key("d"): pytest.approx(expected)}


def test_a_quarter_and_a_name_single_out_one_report(index):
    index.add(REPORTS)
    for question, letter in {
        "Norland's sales in Q2 2024": "b",
        "sales of Oakmere in the first quarter of 2024": "c",
    }.items():
        assert index.name_documents(question).best(8, 0.999) == [key(letter)], question


def test_a_word_that_stands_in_other_documents_tells_less(index):
    """Cables is on the first pages of two reports, and on an inner page of a third."""
    index.add(REPORTS)
    names = index.name_documents("cables")
    share = 2 / 3
    assert names.scores == {
        key(letter): pytest.approx(share * term_information(4, 2)) for letter in ("a", "b")
    }


def test_words_of_a_family_are_left_out_of_the_search_for_pages(index):
    index.add([*REPORTS, *document("e", "oakmere 2024 Q3", "Oakmere Foods report", "sales of jam 9")])
    names = index.name_documents("How much jam did Oakmere report?")
    assert names.family_terms == {"oakmere", "report"}
    hits = index.search_text("Oakmere jam", k=9, without=names.family_terms)
    assert {hit.id for hit in hits} == {f"{key(letter)}#p1" for letter in "cde"}
    assert index.search_text("Oakmere", k=9, without={"oakmere"}) == index.search_text("Oakmere", k=9)


def test_the_latest_is_preferred_among_those_named_equally_well(index):
    index.add(REPORTS)
    scores = index.name_documents("What does Norland's latest report say?").scores
    assert scores[key("b")] - scores[key("a")] == pytest.approx(LATEST_BONUS)
    assert max(scores.values()) == scores[key("b")]
    assert index.name_documents("What does Norland's report say?").scores[key("b")] < scores[key("b")]


def test_a_higher_version_is_later(index):
    index.add(
        [
            *document("a", "kettle manual v1.9", "Kettle manual"),
            *document("b", "kettle manual v1.10", "Kettle manual"),
            *document("c", "toaster manual v3.0", "Toaster manual"),
        ]
    )
    assert index.name_documents("the newest kettle manual").best(1, 0) == [key("b")]


def test_a_document_is_known_while_its_first_page_is_there(index):
    index.add(REPORTS)
    index.delete([f"{key('a')}#p0"])
    assert set(index.name_documents("Norland").scores) == {key("b")}
    index.add([replace(record, context="zenith") for record in REPORTS if record.id == f"{key('b')}#p0"])
    names = index.name_documents("zenith")
    assert set(names.scores) == {key("b")}


def test_records_and_their_documents(index):
    texts = make_records(2)
    index.add([*REPORTS, *texts])
    ids = [REPORTS[0].id, texts[0].id, "nobody", REPORTS[-1].id]
    assert index.document_ids(ids) == {REPORTS[0].id: key("a"), REPORTS[-1].id: key("d")}
    assert index.name_documents("page 1 of the report").scores.keys() <= set(map(key, "abcd"))


def test_an_empty_index_names_nothing(index):
    assert index.name_documents("anything at all") == DocumentNames({})
    assert index.document_ids(["a"]) == {}


def test_context_is_searched_and_comes_back(index):
    (record,) = make_records(1, text="net sales 5")
    index.add([replace(record, context="Norland annual report")])
    assert [hit.id for hit in index.search_text("Norland", k=3)] == [record.id]
    (copy,) = index.get([record.id])
    assert (copy.context, copy.text) == ("Norland annual report", "net sales 5")


def score_plainly(records, question):
    """The same by loops over documents and sets of words, without FTS5."""
    pages = {}
    for record in records:
        pages.setdefault(record.page.document_id, []).append(record)
    name = {id: set(lexical_terms(found[0].context)) for id, found in pages.items()}
    opening = {id: set(lexical_terms(found[0].text[:1500])) for id, found in pages.items()}
    anywhere = {
        id: set().union(*(lexical_terms(f"{page.context}\n{page.text}") for page in found))
        for id, found in pages.items()
    }
    scores = dict.fromkeys(pages, 0.0)
    for term in query_terms(question):
        holders = [id for id in pages if term in name[id] | opening[id]]
        spread = sum(term in anywhere[id] for id in pages)
        for id in holders:
            information = math.log(1 + (len(pages) - len(holders) + 0.5) / (len(holders) + 0.5))
            scores[id] += information * len(holders) / spread
    return {id: score for id, score in scores.items() if score}


def test_scores_agree_with_loops_on_random_documents(index):
    draw = random.Random(3)
    words = [f"w{letter}{number}" for letter in "abcdef" for number in range(6)]  # none that stemming changes
    records = []
    for letter in "0123456789abcdef":
        context, *texts = (" ".join(draw.choices(words, k=draw.randint(1, 12))) for _ in range(4))
        records += document(letter, context, *texts)
    index.add(records)
    for _ in range(40):
        question = " ".join(draw.sample(words, 5))
        assert index.name_documents(question).scores == pytest.approx(score_plainly(records, question))


def test_a_file_of_earlier_code_gets_identities(tmp_path, identity):
    """The words of the file's name stand in for the context that it did not keep."""
    with_names = [
        replace(record, context="", metadata={"file_name": f"{name}.pdf"})
        for record, name in zip(
            REPORTS[:4], ["norland_Q1", "norland_Q1", "norland_Q2", "norland_Q2"], strict=True
        )
    ]
    index = chroma(tmp_path, identity)
    index.add(with_names)
    index.close()
    connection = sqlite3.connect(tmp_path / "index" / "index.sqlite")
    with connection:
        connection.execute("DROP TABLE identities")
        connection.execute("ALTER TABLE records DROP COLUMN context")
        connection.execute("UPDATE state SET value = '2' WHERE key = 'lexical'")
    connection.close()
    reader = ChromaIndex.open(tmp_path / "index", identity, read_only=True)
    assert reader.name_documents("norland Q2") == DocumentNames({})
    assert [record.context for record in reader.get([with_names[0].id])] == [""]
    reader.close()
    index = chroma(tmp_path, identity)
    assert index.name_documents("norland Q2").best(1, 0) == [key("b")]
    assert index.search_text("Q2", k=3)
    index.close()
