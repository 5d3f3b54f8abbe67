"""Replies of a real model, Qwen2.5-Coder-1.5B-Instruct by vLLM on a CPU, about pages of the sample documents.

``data/replies.jsonl`` has what it wrote, mistakes and all: no marks, rows of tables copied with their title.
"""

import json
from pathlib import Path

import pytest

from mmrag.answer.served.checked import AnswerReader
from mmrag.answer.served.shown import ShownPage
from mmrag.documents import DocumentReader, ReaderSettings
from mmrag.documents.inputs import discover
from mmrag.samples import sample_documents
from mmrag.types import Candidate, Page, Record

REPLIES = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "replies.jsonl").open(encoding="utf-8")
]


@pytest.fixture(scope="module")
def pages(structure_models: None) -> dict[tuple[str, int], Page]:
    """The pages that the replies are about, with their structure."""
    wanted = {(name, number) for reply in REPLIES for name, number in reply["pages"]}
    pages = {}
    with DocumentReader(
        ReaderSettings(structure="full", workers=1, page_seconds=300, structure_seconds=300)
    ) as reader:
        for name in sorted({name for name, _ in wanted}):
            numbers = sorted(number for other, number in wanted if other == name)
            (document,) = discover(sample_documents() / name)
            for page in reader.pages(document, numbers=numbers):
                pages[name, page.number] = page
    return pages


@pytest.mark.parametrize("reply", REPLIES, ids=[reply["id"] for reply in REPLIES])
def test_a_real_reply_becomes_an_answer_with_its_evidence(pages, reply):
    shown = [pages[name, number] for name, number in reply["pages"]]
    candidates = [Candidate(Record(p.id, None, p.text, page=p), 1.0, n) for n, p in enumerate(shown, start=1)]
    reader = AnswerReader([ShownPage(candidate, None, cells=True) for candidate in candidates], 400)
    reader.feed(reply["content"])
    answer = reader.finish(reply["finish_reason"])
    assert (answer.text, answer.abstained, answer.note) == (reply["text"], reply["abstained"], reply["note"])
    assert [[c.page.source.name, c.page.number] for c in answer.citations] == reply["cited"]
    assert [c.quote for c in answer.citations] == reply["quotes"]
    for citation in answer.citations:
        assert bool(citation.boxes) == bool(citation.area) == bool(citation.quote)
