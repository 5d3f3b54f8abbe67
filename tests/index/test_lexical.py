"""Terms of texts and queries, and what they find."""

import sqlite3

import pytest

from mmrag.index.lexical import STOP_WORDS, LexicalTable, lexical_terms, match_expression

TABLE = sqlite3.connect(":memory:")
LexicalTable.create(TABLE)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Net Sales", ["net", "sales"]),
        ("Form 10-K", ["form", "10", "k", "10k"]),
        ("e\u2011mail", ["e", "mail", "email"]),
        ("informa-\ntion", ["informa", "tion", "information"]),
        ("2019\u20132020", ["2019", "2020"]),
        ("1,234 and 1,234,567.89", ["1234", "and", "1234567.89"]),
        ("1.234.567,5", ["1234567.5"]),
        ("$24.1bn", ["24.1", "bn"]),
        ("3,5 %", ["3.5"]),
        ("section 3.2.1", ["section", "3.2.1"]),
        ("rows 3,4,5", ["rows", "3", "4", "5"]),
        ("U.S. sales", ["us", "sales"]),
        ("company's don't", ["company", "don", "t"]),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zerowidth"]),
        ("\uff26\uff35\uff2c\uff2c \ufb01ne m²", ["full", "fine", "m2"]),
        ("Straße", ["strasse"]),
        ("snake_case a&b", ["snake", "case", "a", "b"]),
        ("हिन्दी भाषा।", ["हिन्दी", "भाषा"]),
        ("会计税", ["会计", "计税", "税"]),
        ("売上2024年", ["売上", "上", "2024", "年"]),
        ("... -- !", []),
        ("", []),
    ],
)
def test_terms_of_a_document(text, terms):
    assert lexical_terms(text) == terms


def test_query_of_one_unspaced_character_is_a_prefix():
    assert lexical_terms("会计税", query=True) == ["会计", "计税"]
    assert match_expression(TABLE, "税") == '"税"*'


def test_question_words_are_left_out_unless_nothing_else_is_there():
    assert match_expression(TABLE, "What is the net income?") == '"net" OR "income"'
    assert match_expression(TABLE, "what is the") == '"what" OR "is" OR "the"'
    assert match_expression(TABLE, "?!") is None
    assert {"who", "how", "the"} <= STOP_WORDS and "not" not in STOP_WORDS


@pytest.fixture
def table():
    connection = sqlite3.connect(":memory:")
    LexicalTable.create(connection)
    yield connection
    connection.close()


def found(connection, text):
    return [seq for seq, _ in sorted(LexicalTable.search(connection, text), key=lambda row: -row[1])]


@pytest.mark.parametrize(
    ("document", "query"),
    [
        ("Annual report on Form 10-K", "10k"),
        ("Annual report on Form 10K", "10-K"),
        ("write an e-mail", "email"),
        ("total 1,234 units", "1234"),
        ("total 1234 units", "1,234"),
        ("rose to $24.1 billion", "24.1"),
        ("résumé of a naïve café", "resume naive cafe"),
        ("CAFE\u0301", "café"),
        ("the companies reported", "company report"),
        ("東京都の売上高", "売上"),
        ("東京都の売上高", "高"),
        ("ภาษาไทย", "ไทย"),
        ("한국어를 배운다", "한국어"),
        ("हिन्दी भाषा", "भाषा"),
        ("Продажи выросли", "ПРОДАЖИ"),
    ],
)
def test_found_across_spellings(table, document, query):
    LexicalTable.add(table, [(1, document), (2, "nothing of the kind")])
    assert found(table, query) == [1]


def test_decimal_is_not_found_by_its_digits(table):
    LexicalTable.add(table, [(1, "rose to 24.1")])
    assert found(table, "24") == []


def test_score_is_bm25_by_hand(table):
    """One document of three has the term once; lengths 1, 1 and 4, so the mean is 2."""
    LexicalTable.add(table, [(1, "alpha"), (2, "beta"), (3, "gamma delta epsilon zeta")])
    ((seq, score),) = LexicalTable.search(table, "alpha")
    from math import log

    idf = log((3 - 1 + 0.5) / (1 + 0.5))
    assert seq == 1
    assert score == pytest.approx(idf * 1 * (1.2 + 1) / (1 + 1.2 * (1 - 0.75 + 0.75 * 1 / 2)))


def test_rare_words_and_short_texts_weigh_more(table):
    LexicalTable.add(
        table, [(1, "sales of zinc"), (2, "sales of goods"), (3, "x"), (4, "y"), (5, "sales " + "w " * 50)]
    )
    assert found(table, "zinc sales") == [1, 2, 5]


def test_what_is_deleted_is_not_found_and_counts_in_no_score(table):
    LexicalTable.add(table, [(1, "old words of long ago"), (2, "other words"), (3, "another")])
    LexicalTable.delete(table, [(1, "old words of long ago")])
    LexicalTable.add(table, [(1, "new words")])
    assert found(table, "old") == [] and found(table, "new") == [1]
    fresh = sqlite3.connect(":memory:")
    LexicalTable.create(fresh)
    LexicalTable.add(fresh, [(1, "new words"), (2, "other words"), (3, "another")])
    assert dict(LexicalTable.search(table, "words")) == dict(LexicalTable.search(fresh, "words"))
    LexicalTable.delete(table, [(1, "new words")])
    assert found(table, "new") == [] and found(table, "words") == [2]


@pytest.mark.parametrize(
    "query",
    [
        '"',
        '" OR "',
        "a AND b NOT c",
        "col:x",
        "x*",
        "(",
        "NEAR(a b)",
        "^a",
        "-a",
        "{terms}: a",
        "a\x00b",
        "'; DROP TABLE lexical",
    ],
)
def test_query_syntax_is_never_obeyed(table, query):
    LexicalTable.add(table, [(1, "zzz")])
    assert found(table, query) == []


def test_very_long_query_is_answered(table):
    LexicalTable.add(table, [(1, "needle"), (2, "hay")])
    assert found(table, " ".join(f"w{n}" for n in range(5000)) + " needle") == [1]


def test_sqlite_without_fts5_is_told_clearly():
    class Without:
        """Answers as an SQLite that was built without FTS5."""

        def execute(self, statement):
            raise sqlite3.OperationalError("no such module: fts5")

    with pytest.raises(
        RuntimeError, match=r"lexical search needs SQLite with FTS5, got SQLite 3\.\S+ without"
    ):
        LexicalTable.create(Without())
