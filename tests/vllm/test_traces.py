"""Traces, ``ecrr``, ``qar`` and mining against real servers."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from PIL import Image, ImageDraw

from mmrag.cli import main
from mmrag.pipeline import DocumentQA
from mmrag.rerank import ThinkReranker
from mmrag.rerank.traces import TraceWriter
from mmrag.training.mining import read_mined
from mmrag.types import Candidate, Page, Query, Ranking, Record, Source

pytestmark = pytest.mark.vllm

TEXTS = (
    "The Sandhill bridge was opened in 1932 by the mayor of the town.",
    "Rice is cooked in salted water for twenty minutes.",
    "The ferry to the coast sailed twice a day until 1930.",
)
CLOSE = 0.07
"""Two steps of bfloat16 logits near 16, of yes and of no, as a share; batches differ by that."""


def ranking(*texts: str) -> Ranking:
    candidates = [Candidate(Record(f"r{n}", None, text=text), 1.0 - n, n + 1) for n, text in enumerate(texts)]
    return Ranking(Query(text="When was the Sandhill bridge opened?"), tuple(candidates))


def scores(ranked: Ranking) -> dict[str, float]:
    return {one.record.text: one.verdict.score for one in ranked}


# ---- a model that reads ------------------------------------------------------------------------------


def test_a_real_model_writes_a_trace_once(smol_server, tmp_path) -> None:
    writer = TraceWriter(smol_server.url, images=False, max_tokens=48, cache=tmp_path)
    fresh = writer.write_documents(TEXTS)
    assert all(re.search("[a-z]{3}", trace.text) for trace in fresh)
    assert sum(trace.usage.requests for trace in fresh) == 3
    assert all(0 < trace.usage.completion_tokens <= 48 for trace in fresh)
    again = asyncio.run(writer.awrite_documents(TEXTS))
    assert again == fresh
    assert [trace.usage.cache_hits for trace in again] == [1, 1, 1]
    (query,) = asyncio.run(writer.awrite_queries(["When was the bridge opened?"]))
    assert query.text == writer.think_queries(["When was the bridge opened?"])[0]
    assert (
        writer.fingerprint
        == TraceWriter("http://x", smol_server.model, images=False, max_tokens=48).fingerprint
    )


@pytest.mark.parametrize("mode", ["ecrr", "qar"])
def test_traces_are_judged_by_a_real_model(smol_server, tmp_path, mode: str) -> None:
    traces = TraceWriter(smol_server.url, images=False, max_tokens=32, cache=tmp_path)
    settings = {"mode": mode, "traces": traces, "images": False, "think_tokens": 24 if mode == "qar" else 0}
    kept = ThinkReranker(smol_server.url, cache=tmp_path / "replies", **settings)
    ranked = kept.rerank(ranking(*TEXTS))
    assert ranked.reranked
    assert sorted(one.id for one in ranked) == ["r0", "r1", "r2"]
    assert all(0.0 < score < 1.0 for score in scores(ranked).values())
    assert all(bool(one.verdict.thought) == (mode == "qar") for one in ranked)
    # What is asked of a candidate depends neither on order nor on company: every reply is there already.
    backwards = asyncio.run(kept.arerank(ranking(*TEXTS[::-1])))
    alone = {text: scores(kept.rerank(ranking(text)))[text] for text in TEXTS}
    assert scores(backwards) == alone == scores(ranked)
    assert backwards.usage.requests == 0
    if mode == "ecrr":  # a reading that is written anew in bfloat16 may take another turn
        anew = ThinkReranker(smol_server.url, **settings).rerank(ranking(*TEXTS[::-1]))
        assert scores(anew) == pytest.approx(scores(ranked), abs=CLOSE)


def test_a_reading_of_no_tokens_is_ecrr_on_a_real_server(smol_server, tmp_path) -> None:
    traces = TraceWriter(smol_server.url, images=False, max_tokens=32, cache=tmp_path / "traces")
    found = [
        scores(
            ThinkReranker(
                smol_server.url, mode=mode, traces=traces, images=False, cache=tmp_path / "replies"
            ).rerank(ranking(TEXTS[0]))
        )
        for mode in ("ecrr", "qar")
    ]
    assert found[0][TEXTS[0]] == pytest.approx(found[1][TEXTS[0]], abs=CLOSE)


def test_a_thought_of_the_judge_stands_beside_its_score(smol_server, tmp_path) -> None:
    traces = TraceWriter(smol_server.url, images=False, max_tokens=16, cache=tmp_path)
    ranked = ThinkReranker(smol_server.url, mode="ecrr", traces=traces, images=False, think_tokens=16).rerank(
        ranking(TEXTS[0])
    )
    assert ranked[0].verdict.thought
    assert 0.0 < ranked[0].verdict.score < 1.0


@pytest.mark.parametrize("mode", ["pointwise", "ecrr"])
def test_mining_with_a_real_judge_ends_the_same_from_anywhere(
    smol_server, embedder, tmp_path, capsys, mode: str
) -> None:
    with DocumentQA.open(tmp_path / "index", embedder=embedder) as qa:
        qa.add_texts(TEXTS, ids=["bridge", "rice", "ferry"])
    questions = [
        {"id": "q1", "question": "When was the bridge opened?", "positives": ["bridge"]},
        {"id": "q2", "question": "How long does rice cook?", "positives": ["rice"]},
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(json.dumps(one) for one in questions) + "\n")
    target = tmp_path / "out.jsonl"
    command = [
        *("mine", "--index", str(tmp_path / "index"), "--queries", str(tmp_path / "q.jsonl")),
        *("--embedder", str(embedder.model_dir)),
        *("--reranker-url", smol_server.url, "--reranker-text-only", "--rerank", mode, "--to", str(target)),
        *("--margin", "off", "--false-negative", "off", "--least-positive", "off", "--json"),
    ]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["new"] == 2
    whole = target.read_bytes()
    for line in read_mined(target):
        items = line["positives"] + line["negatives"] + line["removed"]
        assert {one["id"] for one in items} == {"bridge", "rice", "ferry"}
        assert all(0.0 < one["score"] < 1.0 for one in items)
    target.write_bytes(whole[: whole.index(b"\n") + 20])  # killed while it wrote the second line
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["new"], report["usage"]["completion_tokens"]) == (1, 0)  # its replies were kept
    assert target.read_bytes() == whole


# ---- a model that sees -------------------------------------------------------------------------------


def test_a_model_that_sees_is_shown_the_page(tiny_vl_server, tmp_path) -> None:
    picture = Image.new("RGB", (160, 120), "white")
    ImageDraw.Draw(picture).text((10, 50), "BRIDGE 1932", fill="black")
    page = Page("p", "d", 0, "1", "", (), (160.0, 120.0), Source("ab" * 32, "image", "a.png"), image=picture)
    writer = TraceWriter(tiny_vl_server.url, max_tokens=12, image_pixels=20_000, cache=tmp_path)
    (seen,) = writer.write_documents([page])
    assert seen.text
    assert seen.usage.prompt_tokens > 60  # the prompt's own, and some for the picture
    blind = TraceWriter(tiny_vl_server.url, max_tokens=12, images=False)
    assert blind.write_documents([page])[0].text == ""  # nothing to read, and it is not asked to see
    assert writer.write_documents([page])[0] == seen
