"""Laws of the local reranker; the shipped cross-encoder itself is run."""

from __future__ import annotations

import asyncio
import pickle
import random
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from tokenizers import Tokenizer

from mmrag.errors import UnsupportedInputError
from mmrag.rerank import Reranker
from mmrag.rerank.local import DEFAULT_MODEL_DIR, NO_TEXT, LocalReranker, window_weights
from mmrag.types import Candidate, Query, Ranking, Record

QUESTION = "How heavy is a blue whale?"
WHALE = "A grown blue whale weighs about 150 tonnes; it is the heaviest animal known."
TEXTS = (
    "The harbour bridge carries eight lanes of road.",
    "Green tea is steeped at eighty degrees for two minutes.",
    WHALE,
    "The whale watching season opens in May and tickets are sold at the pier.",
)


@pytest.fixture(scope="module")
def reranker() -> LocalReranker:
    return LocalReranker(threads=1)


def ranking(*texts: str, question: str = QUESTION) -> Ranking:
    """Candidates ``0``, ``1``, ... with falling retrieval scores."""
    return Ranking(
        Query(text=question),
        tuple(
            Candidate(Record(str(n), None, text=text), 9.0 - n, n + 1, {"fused": 9.0 - n})
            for n, text in enumerate(texts)
        ),
    )


def ids(result: Ranking) -> list[str]:
    return [candidate.id for candidate in result]


def verdicts(result: Ranking) -> dict[str, float]:
    return {candidate.id: candidate.verdict.score for candidate in result}


def vocabulary_text(rng: random.Random, words: int) -> str:
    known = " ".join(TEXTS).replace(".", "").split()
    return " ".join(rng.choice(known) for _ in range(words))


# --- the order


def test_the_page_that_answers_comes_first(reranker):
    after = reranker.rerank(ranking(*TEXTS), alpha=0.0)
    assert ids(after)[0] == "2"
    assert [c.rank for c in after] == [1, 2, 3, 4]
    scores = verdicts(after)
    assert scores.pop("2") > 0 > max(scores.values())  # log-odds
    assert after.reranked
    assert after.notes == ()
    assert isinstance(reranker, Reranker)


def test_alpha_is_the_weight_of_the_retrieval_score(reranker):
    before = ranking(*TEXTS)
    assert ids(reranker.rerank(before, alpha=1.0)) == ["0", "1", "2", "3"]
    half = reranker.rerank(before)
    assert ids(half) == ids(reranker.rerank(before, alpha=0.5))
    z_prior = {str(n): (1.5 - n) / np.sqrt(1.25) for n in range(4)}
    scores = verdicts(half)
    spread, mean = np.std(list(scores.values())), np.mean(list(scores.values()))
    for one in half:
        assert one.score == pytest.approx(0.5 * z_prior[one.id] + 0.5 * (scores[one.id] - mean) / spread)


def test_the_callers_ranking_is_not_changed(reranker):
    before = ranking(*TEXTS)
    reranker.rerank(before, top_n=2)
    assert before == ranking(*TEXTS)
    assert [c.verdict for c in before] == [None] * 4


def test_top_n_cuts_after_the_order(reranker):
    before = ranking(*TEXTS)
    assert ids(reranker.rerank(before, top_n=1)) == ids(reranker.rerank(before))[:1]


def test_what_lies_behind_the_depth_follows_in_prior_order():
    shallow = LocalReranker(depth=3, alpha=0.0, threads=1)
    after = shallow.rerank(ranking(*TEXTS, "x", "y"))
    assert ids(after)[0] == "2"
    assert ids(after)[3:] == ["3", "4", "5"]
    assert [c.verdict is None for c in after] == [False] * 3 + [True] * 3
    assert [c.rank for c in after] == [1, 2, 3, 4, 5, 6]
    scores = [c.score for c in after]
    assert scores == sorted(scores, reverse=True)
    assert ids(shallow.rerank(ranking(*TEXTS, "x", "y"), top_n=5)) == ids(after)[:5]


def test_no_candidates_and_one_candidate(reranker):
    assert len(reranker.rerank(ranking())) == 0
    assert ids(reranker.rerank(ranking("only this"))) == ["0"]


# --- scores


def test_a_page_of_one_window_scores_as_plain_onnxruntime_does(reranker):
    tokenizer = Tokenizer.from_file(str(DEFAULT_MODEL_DIR / "tokenizer.json"))
    tokenizer.no_padding()
    session = onnxruntime.InferenceSession(
        str(DEFAULT_MODEL_DIR / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    scores = verdicts(reranker.rerank(ranking(*TEXTS)))
    for n, text in enumerate(TEXTS):
        pair = tokenizer.encode(QUESTION, text)
        feed = {
            "input_ids": [pair.ids],
            "attention_mask": [pair.attention_mask],
            "token_type_ids": [pair.type_ids],
        }
        (logits,) = session.run(None, {name: np.array(value, np.int64) for name, value in feed.items()})
        assert scores[str(n)] == pytest.approx(float(logits[0, 0]), abs=1e-5)


def test_a_pages_score_is_that_of_its_best_window(reranker):
    filler = "Tickets are sold at the pier from nine to five every day. " * 20
    page = filler + WHALE + " " + filler
    tokens = reranker._loaded_model().tokenize(page)
    windows = [tokens[start : start + 128] for start in range(0, len(tokens), 96)]
    question = reranker._loaded_model().tokenize(QUESTION)
    best = max(float(reranker._loaded_model().run(question, window)[0]) for window in windows)
    (only,) = reranker.rerank(ranking(page))
    assert only.verdict.score == pytest.approx(best, abs=1e-6)
    assert only.verdict.score > 0  # three windows were read, among them the one that answers


def test_scores_do_not_depend_on_order_or_company(reranker):
    rng = random.Random(0)
    texts = [*TEXTS, *(vocabulary_text(rng, rng.randint(1, 200)) for _ in range(4))]
    alone = [verdicts(reranker.rerank(ranking(text)))["0"] for text in texts]
    order = list(range(len(texts)))
    rng.shuffle(order)
    shuffled = verdicts(reranker.rerank(ranking(*(texts[n] for n in order))))
    assert [shuffled[str(order.index(n))] for n in range(len(texts))] == alone  # to the last bit


def test_threads_change_nothing(reranker):
    rng = random.Random(1)
    before = ranking(*TEXTS, *(vocabulary_text(rng, 150) for _ in range(2)))
    together = LocalReranker(threads=3).rerank(before)
    assert [(c.id, c.score) for c in together] == [(c.id, c.score) for c in reranker.rerank(before)]


def test_arerank_is_rerank(reranker):
    before = ranking(*TEXTS)
    after = asyncio.run(reranker.arerank(before, top_n=2, alpha=0.0))
    again = reranker.rerank(before, top_n=2, alpha=0.0)
    assert [(c.id, c.score) for c in after] == [(c.id, c.score) for c in again]


# --- which windows are read


def test_the_weights_of_windows_by_hand():
    windows = [[1, 2, 9], [1, 1, 8], [3, 9, 9], [7]]
    # 1 stands in two of four windows, 2 and 3 in one
    expected = [np.log(1 + 4 / 2) + np.log(1 + 4), np.log(1 + 4 / 2), np.log(1 + 4), 0.0]
    assert window_weights([1, 2, 3, 3], windows) == pytest.approx(expected)


def test_no_more_windows_are_read_than_asked_for():
    rng = random.Random(2)
    model = LocalReranker(window=16, stride=12, windows=2, threads=1)
    for words in (0, 1, 10, 40, 400):
        windows = model._select_windows([5, 6], vocabulary_text(rng, words))
        assert len(windows) <= 2
        assert all(0 < len(window) <= 16 for window in windows)
        assert bool(windows) == bool(words)


# --- what cannot be read


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("blank", [0, 1, 3])
def test_a_candidate_without_text_keeps_its_place(reranker, blank, alpha):
    texts = list(TEXTS[:3])
    texts.insert(blank, " \n")
    after = reranker.rerank(ranking(*texts), alpha=0.0)
    assert ids(after)[blank] == str(blank)
    unread = [c.id for c in reranker.rerank(ranking(*texts), alpha=alpha) if not c.verdict.read]
    assert unread == [str(blank)]
    assert after[blank].verdict.note == NO_TEXT
    rest = [c.record.text for c in after if c.id != str(blank)]
    assert rest == [c.record.text for c in reranker.rerank(ranking(*TEXTS[:3]), alpha=0.0)]


def test_candidates_without_any_text_keep_their_order(reranker):
    after = reranker.rerank(ranking("", "", ""))
    assert ids(after) == ["0", "1", "2"]
    assert verdicts(after) == {"0": 0.0, "1": 0.0, "2": 0.0}


def test_a_question_without_words_keeps_the_order_and_says_why(reranker):
    asked = Query(image=Image.new("RGB", (4, 4)))
    after = reranker.rerank(replace(ranking(*TEXTS), query=asked), top_n=2)
    assert ids(after) == ["0", "1"]
    assert not after.reranked
    assert "reads words" in after.why_not
    with pytest.raises(UnsupportedInputError, match="reads words only"):
        reranker.score(asked, ranking(*TEXTS).candidates)


def test_a_question_longer_than_the_model_is_shortened_and_it_is_said(reranker):
    after = reranker.rerank(ranking(*TEXTS, question=QUESTION + " really" * 400))
    assert after.notes == ("the question was shortened to its first 381 tokens",)


@pytest.mark.parametrize("text", ["\x00", "\ud800", "x" * 5000, "[SEP] [CLS]", "漢字かな"])
def test_any_string_is_taken(reranker, text):
    assert np.isfinite(verdicts(reranker.rerank(ranking(text, WHALE)))["0"])


# --- settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "alpha is the weight of the retrieval score"),
        ({"depth": 0}, "depth must be a whole number of at least 1"),
        ({"window": 401}, "window must be a whole number from 1 to 400, got 401"),
        ({"window": 8, "stride": 9}, "stride must be a whole number from 1 to 8, got 9"),
        ({"windows": True}, "windows must be a whole number"),
        ({"threads": 0}, "threads must be a whole number"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LocalReranker(**options)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the local reranker needs model\.onnx"):
        LocalReranker(tmp_path)


def test_top_n_and_alpha_are_checked(reranker):
    with pytest.raises(ValueError, match="top_n must be a whole number"):
        reranker.rerank(ranking(*TEXTS), top_n=0)
    with pytest.raises(ValueError, match="must be 0 to 1"):
        reranker.rerank(ranking(*TEXTS), alpha=-0.1)


def test_it_pickles_without_its_weights(reranker):
    reranker.rerank(ranking(*TEXTS))
    data = pickle.dumps(LocalReranker(window=64, alpha=0.25, threads=1))
    again = pickle.loads(data)
    assert (again.window, again.stride, again.alpha) == (64, 48, 0.25)
    assert len(pickle.dumps(reranker)) < 2000


def test_the_fingerprint_follows_what_changes_the_scores(reranker):
    assert LocalReranker(depth=3, alpha=0.0).fingerprint == reranker.fingerprint
    assert LocalReranker(window=64).fingerprint != reranker.fingerprint
    assert LocalReranker(windows=2).fingerprint != reranker.fingerprint


def test_the_cost_is_seconds(reranker):
    after = reranker.rerank(ranking(*TEXTS))
    assert after.usage.seconds["rerank"] > 0
    assert after.usage.prompt_tokens == after.usage.requests == 0
    assert 0 < sum(c.verdict.usage.seconds["rerank"] for c in after) <= after.usage.seconds["rerank"]


def test_the_settings_of_its_scores_are_the_fingerprint(reranker):
    assert reranker.score_settings() == {"fingerprint": reranker.fingerprint}
