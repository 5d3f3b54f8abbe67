"""Flat metadata: the keys that both hosts see."""

from __future__ import annotations

import json

from mmrag.hosts.metadata import flat_metadata
from mmrag.types import Candidate, Record


def record(**metadata: object) -> Record:
    return Record(id="r", matrix=None, text="t", metadata=metadata)  # type: ignore[arg-type]


def test_a_record_keeps_its_scalars() -> None:
    given = {"page": 3, "page_label": "iv", "share": 0.5, "scanned": True}
    assert flat_metadata(record(**given)) == given


def test_of_several_values_the_first_stays_and_of_none_nothing() -> None:
    assert flat_metadata(record(file_name=("a.pdf", "b.pdf"), tags=())) == {"file_name": "a.pdf"}


def test_boxes_are_json_and_the_picture_a_path() -> None:
    flat = flat_metadata(record(), image_path="/p.png", bbox=[(0.1, 0.2, 0.3, 0.4)])
    assert flat["image_path"] == "/p.png"
    assert json.loads(str(flat["bbox"])) == [[0.1, 0.2, 0.3, 0.4]]
    assert json.loads(str(flat_metadata(record(), bbox=[])["bbox"])) == []
    assert "bbox" not in flat_metadata(record()) and "image_path" not in flat_metadata(record())


def test_a_candidate_adds_its_score_and_that_of_retrieval() -> None:
    fused = Candidate(record(n=1), score=0.9, rank=1, scores={"vectors": 0.7, "fused": 2.5})
    assert flat_metadata(fused) == {"n": 1, "relevance_score": 0.9, "retrieval_score": 2.5}
    alone = Candidate(record(), score=0.7, rank=1, scores={"vectors": 0.7})
    assert flat_metadata(alone)["retrieval_score"] == 0.7


def test_the_record_is_not_changed() -> None:
    metadata = {"file_name": ("a.pdf", "b.pdf")}
    flat_metadata(record(**metadata), image_path="x")
    assert metadata == {"file_name": ("a.pdf", "b.pdf")}
