import json

import pytest

from mmrag.evaluation import load_pack, select_questions
from mmrag.evaluation.pack import WHOLE

GOOD = {"id": "q1", "question": "What?", "doc": "a.pdf", "answerable": True, "evidence_pages": [0, 2]}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "documents").mkdir()
    for name in ("b.pdf", "a.pdf"):
        (tmp_path / "documents" / name).write_bytes(b"")
    return tmp_path


def write(folder, *lines):
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "queries.jsonl").write_text(text + "\n", encoding="utf-8")
    return folder


def without(name):
    return {key: value for key, value in GOOD.items() if key != name}


def test_a_sound_pack_is_read(folder):
    full = GOOD | {
        "id": "q2",
        "answers": ["4"],
        "answer_format": "List",
        "answer_items": ["x", "y"],
        "evidence_types": ["Table"],
        "image_only_evidence": True,
        "source": "ours",
        "written_by": "human annotators",
        "a_field_of_somebody_else": 1,
    }
    pack = load_pack(write(folder, GOOD, "", full))
    assert pack.documents == ("a.pdf", "b.pdf")
    assert pack.documents_path == folder / "documents"
    plain, rich = pack.questions
    assert plain.evidence == {("a.pdf", 0), ("a.pdf", 2)}
    assert plain.docs == ("a.pdf",)
    assert (plain.source, plain.answers, plain.human_written) == ("", (), False)
    assert (rich.answers, rich.answer_items, rich.evidence_types) == (("4",), ("x", "y"), ("Table",))
    assert rich.image_only_evidence


def test_boxes_become_shares_of_the_page(folder):
    """In points with the page's size, or in 0..1 without; what pokes out of the page is cut off."""
    line = GOOD | {
        "evidence_boxes": [
            {"page": 2, "page_size": [600.0, 800], "bbox": [60, 80, 300.0, 400]},
            {"page": 0, "bbox": [0.5, 0.25, 1, 1.0]},
            {"page": 0, "page_size": [600, 800], "bbox": [-6, 0, 606, 80]},
            {"doc": "b.pdf", "page": 7, "bbox": [0, 0, 0.5, 0.5]},
        ],
        "value_boxes": [{"page": 2, "page_size": [600, 800], "bbox": [60, 80, 120, 160]}],
        "kind": "cell",
    }
    (question,) = load_pack(write(folder, line)).questions
    assert question.evidence_boxes == (
        ("a.pdf", 2, (0.1, 0.1, 0.5, 0.5)),
        ("a.pdf", 0, (0.5, 0.25, 1.0, 1.0)),
        ("a.pdf", 0, (0.0, 0.0, 1.0, 0.1)),
        ("b.pdf", 7, (0.0, 0.0, 0.5, 0.5)),
    )
    assert question.value_boxes == (("a.pdf", 2, (0.1, 0.1, 0.2, 0.2)),)
    assert (question.kind, question.evidence_boxes[0].page_key) == ("cell", ("a.pdf", 2))


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ({}, "'evidence_boxes' must be a list of objects"),
        ([[0, 0, 1, 1]], "'evidence_boxes' must be a list of objects"),
        ([{"bbox": [0, 0, 1, 1]}], "the page in 'evidence_boxes' must be"),
        ([{"page": 0, "bbox": [0, 0, 1]}], r"must have bbox \[x0, y0, x1, y1\]"),
        ([{"page": 0, "bbox": [0, 0, 1, 1], "page_size": [600, 0]}], "page_size"),
        ([{"page": 0, "bbox": [0, 0, True, 1]}], "must have bbox"),
        ([{"page": 0, "bbox": [0.5, 0, 0.5, 1]}], "must have an area on its page"),
        ([{"page": 0, "bbox": [60, 80, 300, 400]}], "must have an area on its page"),  # no page size
    ],
)
def test_a_box_without_a_page_or_an_area_is_refused(folder, boxes, words):
    with pytest.raises(ValueError, match=f"line 1: .*{words}"):
        load_pack(write(folder, GOOD | {"evidence_boxes": boxes}))


def test_questions_are_chosen_by_id(folder):
    pack = load_pack(write(folder, *(GOOD | {"id": f"q{n}"} for n in range(4))))
    some = select_questions(pack, ["q3", "q1", "q3"])
    assert [question.id for question in some.questions] == ["q1", "q3"]
    assert some.documents == pack.documents
    with pytest.raises(ValueError, match=r"ids of questions must be in .*, got 'q9'\. Write one id a line"):
        select_questions(pack, ["q1", "q9"])
    with pytest.raises(ValueError, match="got none"):
        select_questions(pack, [])


def test_evidence_may_span_files(folder):
    line = without("doc") | {"evidence": [{"doc": "b.pdf", "page": 1}, {"doc": "a.pdf", "page": 0}]}
    del line["evidence_pages"]
    (question,) = load_pack(write(folder, line)).questions
    assert question.docs == ("a.pdf", "b.pdf")
    assert question.evidence == {("b.pdf", 1), ("a.pdf", 0)}


@pytest.mark.parametrize(
    ("author", "human"),
    [
        ("human annotators", True),
        ("search users + human annotators", True),
        ("Search users", True),
        ("LLM, checked by the benchmark authors", False),
        ("", False),
    ],
)
def test_the_rule_of_human_written(folder, author, human):
    (question,) = load_pack(write(folder, GOOD | {"written_by": author})).questions
    assert question.human_written is human


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "a question must be a JSON object, got bad JSON"),
        ("[1]", r"a question must be a JSON object, got \[1\]"),
        (without("id"), "'id' must be a string that is not empty, got None"),
        (GOOD | {"question": " "}, "'question' must be a string that is not empty, got ' '"),
        (GOOD | {"doc": "c.pdf"}, "'doc' must be a file in documents/, got 'c.pdf'"),
        (GOOD | {"doc": "../x.pdf"}, "'doc' must be a file in documents/"),
        (GOOD | {"answerable": 1}, "'answerable' must be true or false, got 1"),
        (without("answerable"), "'answerable' must be true or false, got None"),
        (without("evidence_pages"), "'evidence_pages' must be a list of different whole numbers .* got None"),
        (GOOD | {"evidence_pages": [-1]}, r"counted from 0, got \[-1\]"),
        (GOOD | {"evidence_pages": [1, 1]}, r"different whole numbers counted from 0, got \[1, 1\]"),
        (GOOD | {"evidence_pages": [True]}, r"counted from 0, got \[True\]"),
        (
            GOOD | {"evidence_pages": []},
            r"empty exactly where 'answerable' is false, got \[\] with answerable true",
        ),
        (
            GOOD | {"answerable": False},
            "empty exactly where 'answerable' is false, got .* with answerable false",
        ),
        (GOOD | {"answers": "4"}, "'answers' must be a list of strings, got '4'"),
        (GOOD | {"evidence": []}, "'evidence' and 'evidence_pages' must not occur together"),
        (without("evidence_pages") | {"evidence": [3]}, "'evidence' must be a list of objects"),
        (
            without("evidence_pages") | {"evidence": [{"doc": "a.pdf", "page": "1"}]},
            "the pages of 'a.pdf' in 'evidence' must be",
        ),
        (GOOD, "'id' must be used once, got 'q1' as in line 1"),
    ],
)
def test_a_bad_line_is_named(folder, line, message):
    with pytest.raises(ValueError, match=rf"queries\.jsonl, line 3: .*{message}"):
        load_pack(write(folder, GOOD, "", line))


def test_a_byte_that_is_no_utf8_is_named(folder):
    (folder / "queries.jsonl").write_bytes(json.dumps(GOOD).encode() + b"\n\xff\n")
    with pytest.raises(ValueError, match=r"queries\.jsonl, line 2: a question must be UTF-8"):
        load_pack(folder)


def test_no_question_is_refused(folder):
    with pytest.raises(ValueError, match="must have at least one question, got none"):
        load_pack(write(folder, ""))


@pytest.mark.parametrize("missing", ["documents", "queries.jsonl", "."])
def test_an_incomplete_pack_is_refused(tmp_path, missing):
    folder = tmp_path / "pack"
    if missing != ".":
        folder.mkdir()
    if missing == "queries.jsonl":
        (folder / "documents").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"a pack needs the (folder|file) .* See docs/evaluation-pack\.md"
    ):
        load_pack(folder)


def test_evidence_may_have_grades(folder):
    line = {"id": "q", "question": "What?", "answerable": True}
    line["evidence"] = [{"doc": "a.pdf", "page": 3, "grade": 2}, {"doc": "b.pdf", "page": 0}]
    (question,) = load_pack(write(folder, line)).questions
    assert question.relevant == {("a.pdf", 3): 2, ("b.pdf", 0): 1}
    line["evidence"][0]["grade"] = 0
    with pytest.raises(ValueError, match=r"line 1: 'grade' in 'evidence' must be a whole number .* got 0"):
        load_pack(write(folder, line))


def test_a_whole_file_may_be_the_evidence(folder):
    line = {"id": "q", "question": "What?", "answerable": True, "evidence": [{"doc": "a.pdf"}]}
    (question,) = load_pack(write(folder, line)).questions
    assert question.evidence == {("a.pdf", WHOLE)}
    assert question.key(("a.pdf", 7)) in question.evidence
    line["evidence"].append({"doc": "b.pdf", "page": 1})
    with pytest.raises(ValueError, match=r"pages of 'a.pdf' in 'evidence' must be a list of different whole"):
        load_pack(write(folder, line))
    line["evidence"] = [{"doc": "a.pdf", "page": -1}]
    with pytest.raises(ValueError, match=r"pages of 'a.pdf' in 'evidence' must be"):
        load_pack(write(folder, line))


def test_a_question_may_be_about_more_files_than_answer_it(folder):
    line = {"id": "q", "question": "What?", "answerable": True, "docs": ["a.pdf", "b.pdf"]}
    (question,) = load_pack(write(folder, line | {"evidence": [{"doc": "b.pdf", "page": 0}]})).questions
    assert question.docs == ("a.pdf", "b.pdf")
    with pytest.raises(ValueError, match=r"'doc' must be a file in documents/, got 'c.pdf'"):
        load_pack(write(folder, line | {"docs": ["c.pdf"], "evidence": [{"doc": "b.pdf", "page": 0}]}))
