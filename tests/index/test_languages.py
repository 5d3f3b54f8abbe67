"""Pages in other languages are found by other forms of their words; English questions are as they were."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mmrag.index import ChromaIndex, MemoryIndex
from mmrag.index.languages import inflected_terms, question_language
from mmrag.index.lexical import LexicalTable, match_expression, query_terms
from mmrag.types import Record

CASES = [
    ("german", "Wie viele Häuser sind das?", "Ein Haus wurde gebaut.", "Hunde bellen."),
    ("french", "Quels sont les bâtiments du port ?", "Un bâtiment si grand.", "Mon chat dort."),
    ("spanish", "¿Cuáles son las ciudades?", "Esa ciudad antigua.", "Mi perro ladra."),
    ("russian", "Сколько было продано книгами?", "Новая книга.", "Собака спит."),
    ("greek", "Ποιες τιμές;", "νέα τιμή.", "γάτα."),
    ("arabic", "كم كتاب", "قرأت الكتاب.", "نام الكلب."),
    ("hindi", "कितनी किताबें?", "नई किताब।", "कुत्ता सोता।"),
]
UNSPACED = [
    ("Han", "税务局在哪里", "北京市税务局的地址", "一只猫"),
    ("Japanese", "売上高はいくら", "本年度の売上高は十億円", "猫が寝ている"),
    ("Thai", "ราคาบ้าน", "บ้านราคาสูง", "แมวนอน"),
]


@pytest.fixture(params=["memory", "folder"])
def index(request, embedder, tmp_path):
    made = (
        MemoryIndex.for_embedder(embedder)
        if request.param == "memory"
        else ChromaIndex.open(tmp_path / "index", embedder)
    )
    yield made
    made.close()


def fill(index, embedder, *texts: str) -> None:
    matrices = embedder.encode_document(texts)
    index.add(
        [Record(f"t{n}", matrix, text) for n, (text, matrix) in enumerate(zip(texts, matrices, strict=True))]
    )


@pytest.mark.parametrize(("language", "question", "page", "other"), CASES)
def test_another_form_of_a_word_finds_its_page(index, embedder, language, question, page, other) -> None:
    pytest.importorskip("snowballstemmer", reason="needs the extra 'languages'")
    assert question_language(question) == language
    fill(index, embedder, other, page)
    assert [hit.id for hit in index.search_text(question, k=5)] == ["t1"]


@pytest.mark.parametrize(("script", "question", "page", "other"), UNSPACED)
def test_scripts_without_spaces_are_found_as_they_stand(
    index, embedder, script, question, page, other
) -> None:
    fill(index, embedder, other, page)
    assert [hit.id for hit in index.search_text(question, k=5)] == ["t1"]


@pytest.mark.parametrize(
    "question",
    ["What were net sales in Europe?", "Where do I go if I want to do it?", "Was he in Die, France?",
     "total assets 2023", "How many people work in La Paz and El Alto?", "naïve café résumé", "", "42"],
)  # fmt: skip
def test_english_questions_are_of_no_other_language(question: str) -> None:
    assert question_language(question) is None


@pytest.fixture
def table():
    connection = sqlite3.connect(":memory:")
    LexicalTable.create(connection)
    LexicalTable.add(connection, [(1, "house houses Haus Häuser"), (2, "maison maisons")])
    yield connection
    connection.close()


def test_an_english_question_is_searched_as_without_stemmers(table) -> None:
    question = "What is the price of houses?"
    assert inflected_terms(table, question, query_terms(question)) == []
    assert match_expression(table, question) == '"price" OR "houses"'


def test_without_the_extra_words_meet_as_they_are(table, monkeypatch) -> None:
    monkeypatch.setattr("mmrag.index.languages._stemmer", lambda language: None)
    question = "Wie hoch ist der Preis der Häuser?"
    assert inflected_terms(table, question, query_terms(question)) == []


def test_numbers_and_function_words_have_no_other_forms(table) -> None:
    pytest.importorskip("snowballstemmer", reason="needs the extra 'languages'")
    LexicalTable.add(table, [(3, "welches welcher 2023 20231")])
    question = "Welcher Preis und welches Haus ist das im Jahr 2023?"
    assert inflected_terms(table, question, query_terms(question)) == ["hau", "hauser"]


def test_a_folder_that_is_read_only_is_searched_too(embedder, tmp_path: Path) -> None:
    pytest.importorskip("snowballstemmer", reason="needs the extra 'languages'")
    made = ChromaIndex.open(tmp_path / "index", embedder)
    fill(made, embedder, "Das Haus wurde gebaut.")
    made.close()
    reader = ChromaIndex.open(tmp_path / "index", embedder, read_only=True)
    for _ in range(2):
        hits = reader.search_text("Wo sind die Häuser und was ist das?", k=1)
        assert [hit.id for hit in hits] == ["t0"]
    reader.close()
