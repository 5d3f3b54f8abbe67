"""Questions: found in the index, or one error that names the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmrag.index.memory import MemoryIndex
from mmrag.pipeline import DocumentQA
from mmrag.training.mining.questions import MiningQuestion, read_questions


@pytest.fixture(scope="module")
def index(embedder, make_pdf, tmp_path_factory) -> MemoryIndex:
    folder = tmp_path_factory.mktemp("files")
    make_pdf(folder / "bridge.pdf", ["Opened in 1932.", "Repaired in 1988."])
    make_pdf(folder / "a" / "twin.pdf", ["One twin."])
    make_pdf(folder / "b" / "twin.pdf", ["The other twin."])
    qa = DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder)
    qa.add(folder)
    qa.add_texts(["a note"], ids=["note-1"])
    yield qa.index
    qa.close()


def write(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines) + "\n")
    return path


def page_id(index: MemoryIndex, name: str, number: int) -> str:
    (entry,) = [entry for entry in index.documents() if entry.names[0].endswith(name)]
    return f"{entry.id}#p{number}"


def test_positives_are_named_by_id_or_by_file_and_page(index, tmp_path) -> None:
    second = page_id(index, "bridge.pdf", 1)
    names = [name for entry in index.documents() for name in entry.names]
    path = next(name for name in names if name.endswith("b/twin.pdf"))
    file = write(
        tmp_path / "q.jsonl",
        {"id": "a", "question": "When?", "positives": ["note-1", {"file": "bridge.pdf", "page": 1}, second]},
        "",
        {"id": "b", "query": "Which\u2028twin?", "positives": [{"file": path, "page": 0}], "more": 1},
    )
    assert read_questions(file, index) == [
        MiningQuestion("a", "When?", ("note-1", second)),
        MiningQuestion("b", "Which\u2028twin?", (page_id(index, "b/twin.pdf", 0),)),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "must be a JSON object, got bad JSON"),
        ([1], r"must be a JSON object, got \[1\]"),
        ({"question": "x", "positives": ["note-1"]}, "'id' must be a string that is not empty, got None"),
        ({"id": "ok", "question": "x", "positives": ["note-1"]}, "used once, got 'ok' as in line 1"),
        ({"id": "b", "positives": ["note-1"]}, "'question' must be a string that is not empty, got ''"),
        ({"id": "b", "question": " ", "positives": ["note-1"]}, "'question' must be a string"),
        ({"id": "b", "question": "x", "query": "x", "positives": ["note-1"]}, "must not stand together"),
        ({"id": "b", "question": "x"}, "'positives' must be a list of at least one .* got None"),
        ({"id": "b", "question": "x", "positives": []}, r"'positives' must be a list .* got \[\]"),
        ({"id": "b", "question": "x", "positives": [7]}, "a positive must be a record id or"),
        ({"id": "b", "question": "x", "positives": ["gone"]}, "must be in the index, got 'gone'"),
        ({"id": "b", "question": "x", "positives": [{"file": "no.pdf", "page": 0}]}, "got 'no.pdf'"),
        ({"id": "b", "question": "x", "positives": [{"file": "bridge.pdf", "page": 2}]}, "in the index, got"),
        ({"id": "b", "question": "x", "positives": [{"file": "bridge.pdf", "page": -1}]}, "page -1"),
        ({"id": "b", "question": "x", "positives": [{"file": "bridge.pdf", "page": True}]}, "page True"),
        ({"id": "b", "question": "x", "positives": [{"file": "twin.pdf", "page": 0}]}, "fits 2"),
        (
            {"id": "b", "question": "x", "image": "no.png", "positives": ["note-1"]},
            "'image' must be the path",
        ),
    ],
)
def test_a_bad_line_is_one_error_that_names_it(index, tmp_path, line: object, words: str) -> None:
    file = write(tmp_path / "q.jsonl", {"id": "ok", "question": "x", "positives": ["note-1"]}, line)
    with pytest.raises(ValueError, match=rf"q\.jsonl, line 2: .*{words}"):
        read_questions(file, index)


def test_a_file_without_questions_and_one_that_is_no_text_are_refused(index, tmp_path) -> None:
    with pytest.raises(ValueError, match="must have at least one question, got none"):
        read_questions(write(tmp_path / "q.jsonl", ""), index)
    good = b'{"id": "a", "question": "x", "positives": ["note-1"]}\n'
    (tmp_path / "b.jsonl").write_bytes(good + b"\xff\xfe")
    with pytest.raises(ValueError, match=r"b\.jsonl, line 2: a question must be UTF-8"):
        read_questions(tmp_path / "b.jsonl", index)
    with pytest.raises(FileNotFoundError):
        read_questions(tmp_path / "gone.jsonl", index)


def test_training_pairs_are_questions_too(index, tmp_path) -> None:
    page = {"id": page_id(index, "bridge.pdf", 0), "kind": "page", "file": "renamed.pdf", "page": 0}
    pair = {
        "format": 1,
        "recipe": "r",
        "query": {"id": "p", "text": "opened", "image": None},
        "positives": [page],
        "negatives": [{"id": "note-1"}],
        "removed": [{"id": "note-1"}, {"id": "not-in-the-index"}],
        "doubtful": [],
        "skipped": "",
    }
    file = write(tmp_path / "q.jsonl", pair)
    assert read_questions(file, index) == [
        MiningQuestion("p", "opened", (page["id"],), known_ids=("note-1",))
    ]
    write(file, {**pair, "positives": ["note-1"]})
    with pytest.raises(ValueError, match="line 1: 'positives' must be a list of items with an 'id', got"):
        read_questions(file, index)
