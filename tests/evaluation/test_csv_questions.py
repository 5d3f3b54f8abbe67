"""A pack from a table: as spreadsheets write it, in every encoding and with every separator, or an error."""

from __future__ import annotations

import csv
import io
import json
import random

import pytest

from mmrag.evaluation import load_pack

HEAD = "question,file,page\n"
ROWS = [
    ["question", "file", "page", "answer"],
    ["Wie groß ist die Fläche, in Hektar?", "Bericht 2024.pdf", "3", "12,5 | 12.5"],
    ["What does pump B cost?", "prices.pdf", "1", ""],
    ["What does pump B cost?", "Bericht 2024.pdf", "2-3", ""],
    ["Who is the mayor of Oz?", "prices.pdf", "none", ""],
]


def table(rows, separator=",", ending="\r\n"):
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator=ending).writerows(rows)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Two documents beside the table, and what a spreadsheet leaves while it is open."""
    folder = tmp_path / "my-pack"
    folder.mkdir()
    for name in ("Bericht 2024.pdf", "prices.pdf", ".DS_Store", "~$questions.csv"):
        (folder / name).write_bytes(b"")
    return folder


def load(folder, content, encoding="utf-8"):
    data = content if isinstance(content, bytes) else content.encode(encoding)
    (folder / "questions.csv").write_bytes(data)
    return load_pack(folder)


def test_a_table_is_a_pack(folder) -> None:
    pack = load(folder, table(ROWS))
    assert pack.documents == ("Bericht 2024.pdf", "prices.pdf")
    assert pack.inputs == [folder / "Bericht 2024.pdf", folder / "prices.pdf"]
    first, cost, none = pack.questions
    assert (first.id, first.docs, first.evidence) == (
        "line-2",
        ("Bericht 2024.pdf",),
        {("Bericht 2024.pdf", 2)},
    )
    assert first.answers == ("12,5", "12.5")
    assert cost.evidence == {("prices.pdf", 0), ("Bericht 2024.pdf", 1), ("Bericht 2024.pdf", 2)}
    assert cost.docs == ("prices.pdf", "Bericht 2024.pdf")
    assert (none.answerable, none.docs, none.evidence) == (False, ("prices.pdf",), frozenset())
    assert not any(question.human_written for question in pack.questions)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\r\n", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_however_a_spreadsheet_writes_it(folder, separator, ending, encoding) -> None:
    content = table(ROWS, separator, ending)
    assert load(folder, content, encoding).questions == load(folder, table(ROWS)).questions
    if separator != "\t":
        marked = load(folder, f"sep={separator}{ending}{content}", encoding)
        assert marked.questions[0].id == "line-3"
        assert marked.questions[0].question == ROWS[1][0]


def test_the_heading_may_be_in_any_order_and_case(folder) -> None:
    pack = load(folder, " Page ,QUESTION,remark,File\n\n3,What?,x,prices.pdf,,\n")
    assert pack.questions[0].evidence == {("prices.pdf", 2)}
    assert pack.questions[0].id == "line-3"


def test_documents_may_have_a_folder_of_their_own(folder) -> None:
    (folder / "documents").mkdir()
    (folder / "documents" / "a.pdf").write_bytes(b"")
    pack = load(folder, "question,file,page\nWhat?,documents/A.pdf,1\n")
    assert (pack.documents, pack.questions[0].docs) == (("a.pdf",), ("a.pdf",))
    assert pack.inputs == folder / "documents"


def test_names_meet_in_whatever_form_their_accents_are(folder) -> None:
    (folder / "Pru\u0308fung.pdf").write_bytes(b"")
    assert load(folder, "question,file,page\nWas?,Pr\u00fcfung.pdf,1\n").questions[0].docs == (
        "Pru\u0308fung.pdf",
    )


def test_ids_join_rows_and_further_columns_are_read(folder) -> None:
    rows = ["a,What?,prices.pdf,1,human,cell", "a,What?,prices.pdf,4,,", "b,What?,prices.pdf,2,,"]
    content = "\n".join(["id,question,file,page,written_by,kind", *rows])
    first, second = load(folder, content).questions
    assert (first.id, first.evidence) == ("a", {("prices.pdf", 0), ("prices.pdf", 3)})
    assert (first.human_written, first.kind, second.evidence) == (True, "cell", {("prices.pdf", 1)})


@pytest.mark.parametrize(
    ("page", "pages"),
    [
        ("7", [6]),
        ("7.0", [6]),
        ("3, 5", [2, 4]),
        ("3;5", [2, 4]),
        ("3 5", [2, 4]),
        ("3-5", [2, 3, 4]),
        ("2 \u2013 3, 9", [1, 2, 8]),
    ],
)
def test_pages_as_people_write_them(folder, page, pages) -> None:
    pack = load(folder, table([ROWS[0], ["What?", "prices.pdf", page, ""]]))
    assert sorted(number for _, number in pack.questions[0].evidence) == pages


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD + "What?,prices.pdf,0\n", r"line 2: 'page' must be a whole number counted from 1 .* got '0'"),
        (HEAD + "\nWhat?,prices.pdf,iv\n", "line 3: 'page' must be .* got 'iv'"),
        (HEAD + "What?,prices.pdf,5-3\n", "line 2: 'page' must be"),
        (HEAD + "What?,prices.pdf,1-99999\n", "line 2: 'page' must be"),
        (HEAD + "What?,prices.pdf,\n", "line 2: 'page' must not be empty, .* counted from 1"),
        (HEAD + ",prices.pdf,1\n", "line 2: 'question' must not be empty"),
        (
            HEAD + "What?,price.pdf,1\n",
            "line 2: 'file' must be .* got 'price.pdf'. Did you mean 'prices.pdf'",
        ),
        (HEAD + '"A\nB?",prices.pdf,1\nWhat?,x,1\n', "line 4: 'file' must be"),
        (HEAD + "What, and when?,prices.pdf,1\n", "line 2: a row must have at most 3 cells, .* got 4"),
        (HEAD + 'What?,prices.pdf,1\n"Who?,prices.pdf,1\n', "line 3: a row must be cells with closed"),
        ("question,document,page\nWhat?,prices.pdf,1\n", "must begin with a heading that has the columns"),
        ("question,file,page,page\nWhat?,prices.pdf,1,1\n", "line 1: the heading .* got 'page' twice"),
        ("", "must begin with a heading"),
        (HEAD + "", "must have at least one question"),
        (HEAD + "What?,prices.pdf,1\nWhat?,prices.pdf,none\n", "line 3: rows of one question must"),
        (HEAD.encode() + b"\x81\xff?,prices.pdf,1\n", "must be text in UTF-8, UTF-16 or Windows-1252"),
    ],
)
def test_a_bad_row_is_named_by_its_line(folder, content, message) -> None:
    with pytest.raises(ValueError, match=message):
        load(folder, content)


def test_two_files_of_questions_are_one_too_many(folder) -> None:
    (folder / "queries.jsonl").write_text("{}")
    with pytest.raises(ValueError, match="must have one file of questions"):
        load(folder, table(ROWS))


def test_random_tables_read_back(folder) -> None:
    rng = random.Random(4)
    letters = "aäß€,;\t\"' \n\u2013日本|x"
    for _ in range(60):
        words = ["".join(rng.choices(letters, k=rng.randint(3, 12))) + f"q{n}" for n in range(4)]
        rows = [[word, "prices.pdf", str(n + 1)] for n, word in enumerate(words)]
        content = table([["question", "file", "page"], *rows], rng.choice(",;\t"))
        pack = load(folder, content, rng.choice(["utf-8", "utf-8-sig", "utf-16"]))
        assert [question.question for question in pack.questions] == [
            " ".join(word.split()) for word in words
        ]


def test_lines_of_json_give_the_same_pack(folder) -> None:
    table_pack = load(folder, table(ROWS))
    (folder / "questions.csv").unlink()
    (folder / "documents").mkdir()
    for name in table_pack.documents:
        (folder / name).rename(folder / "documents" / name)
    lines = [
        {
            "id": "line-2",
            "question": ROWS[1][0],
            "doc": ROWS[1][1],
            "answerable": True,
            "evidence_pages": [2],
            "answers": ["12,5", "12.5"],
        },
        {
            "id": "line-5",
            "question": ROWS[4][0],
            "doc": "prices.pdf",
            "answerable": False,
            "evidence_pages": [],
        },
    ]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert load_pack(folder).questions == (table_pack.questions[0], table_pack.questions[2])
