"""What users of hosts write."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mmrag import Answer, Budget, Citation, Query, Ranking, Record
from mmrag.hosts.inputs import as_budget, as_ids, as_metadata, as_query, budget_pair, text_image_query
from mmrag.hosts.metadata import answer_boxes, caller_lists, evidence_metadata, metadata_boxes

BOX = (0.1, 0.2, 0.3, 0.4)


@pytest.fixture
def red(tmp_path: Path) -> str:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    return str(tmp_path / "red.png")


@pytest.mark.parametrize("value", [Budget(1, 2), (1, 2), [1, 2], {"query": 1, "document": 2}])
def test_a_budget_is_written_in_four_ways(value: object) -> None:
    assert as_budget(value) == Budget(1, 2)
    assert budget_pair(value) == (1, 2)


@pytest.mark.parametrize("value", ["12", (1,), (1, 2, 3), {"query": 1}, 5])
def test_other_budgets_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="budget must be Budget"):
        as_budget(value)


def test_a_question_is_text_an_image_or_blocks(red: str) -> None:
    query = Query(text="a")
    assert as_query(query) is query
    assert as_query("a") == query
    both = as_query(["a", {"type": "image_url", "image_url": {"url": red}}])
    assert (both.text, both.image.size) == ("a", (4, 4))
    assert as_query({"image": red}).text is None
    assert text_image_query("", red).image.size == (4, 4)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ({"words": "a"}, ValueError, "got 'words'"),
        ([{"type": "audio"}], ValueError, "must be text or image, got 'audio'"),
        ([{"type": "image"}], ValueError, "must have 'url' or 'base64'"),
        (3, TypeError, "got int"),
    ],
)
def test_other_questions_are_refused(value: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        as_query(value)


def test_ids_and_metadata_are_the_callers_copied() -> None:
    assert as_ids(None) is None
    ids = as_ids(["a", None, None])
    assert ids is not None and ids[0] == "a" and len({*ids}) == 3
    given = [{"tags": ["x", "y"]}]
    assert as_metadata(given) == [{"tags": ("x", "y")}]
    assert given == [{"tags": ["x", "y"]}]


def test_lists_of_the_caller_stay_lists() -> None:
    record = Record(id="r", matrix=None, text="t", metadata={"tags": ("x", "y"), "n": 1})
    assert caller_lists(record) == {"tags": ["x", "y"]}


def test_evidence_is_quotes_and_boxes_without_repeats() -> None:
    citations = [Citation(1, "a", "q", (BOX,)), Citation(2, "a", "q", (BOX,)), Citation(3, "a", "r")]
    evidence = evidence_metadata(citations)
    assert evidence["quote"] == "q … r"
    assert metadata_boxes(evidence) == [BOX]
    assert evidence_metadata([]) == {} and metadata_boxes({}) == []
    answer = Answer("", tuple(citations), Ranking(Query(text="?"), ()))
    assert answer_boxes(answer) == {"a": [BOX, BOX]}
