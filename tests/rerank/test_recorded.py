"""Every mode judges three pages as a real model of 1.5B did, from its recorded replies over HTTP."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("recorded")
RECORDINGS = json.loads((FOLDER / "judge.json").read_text(encoding="utf-8"))
specification = importlib.util.spec_from_file_location("record_judge", FOLDER / "record_judge.py")
record = importlib.util.module_from_spec(specification)
specification.loader.exec_module(record)


def test_every_mode_was_recorded() -> None:
    assert RECORDINGS.keys() == record.MODES.keys()


@pytest.mark.parametrize("name", record.MODES)
def test_recorded_replies_give_the_recorded_verdicts(name: str, fake_server) -> None:
    recording = RECORDINGS[name]
    for _, reply in recording["replies"]:
        fake_server.reply(200, reply)
    result = record.reranker(fake_server.url, name).rerank(record.ranking())
    assert [request.path for request in fake_server.requests] == [path for path, _ in recording["replies"]]
    verdicts = {candidate.id: candidate.verdict for candidate in result}
    judged = [verdicts[candidate.id] for candidate in record.ranking()]
    assert [verdict.score for verdict in judged] == pytest.approx(recording["scores"])
    assert [verdict.thought for verdict in judged] == recording["thoughts"]
    assert [candidate.score for candidate in result] == sorted(recording["scores"], reverse=True)
