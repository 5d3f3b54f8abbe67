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

from mmrag.answer.words import content_stems
from mmrag.embedders.cross_encoder import DEFAULT_MODEL_DIR, shipped_encoder
from mmrag.errors import UnsupportedInputError
from mmrag.rerank import Reranker
from mmrag.rerank.local import NO_TEXT, UNIT, LocalReranker, is_latin, window_weights, word_windows
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


def test_a_page_says_whose_it_is(reranker):
    """Two pages with the same words: the context tells which of them the question is about."""
    base = ranking("Revenue was 5 million.", "Revenue was 5 million.", question="What was Norland's revenue?")
    contexts = ("Oakmere Foods annual report", "Norland Cables annual report")
    pages = [
        replace(candidate, record=replace(candidate.record, context=context))
        for candidate, context in zip(base, contexts, strict=True)
    ]
    after = reranker.rerank(replace(base, candidates=tuple(pages)), alpha=0.0)
    assert ids(after) == ["1", "0"]
    plain = verdicts(reranker.rerank(base))
    assert plain["0"] == plain["1"] != verdicts(after)["1"]


def test_a_long_context_leaves_the_window_whole(reranker):
    """Names of hexadecimal digits have a token for every two or three of them."""
    record = Record("0", None, text=WHALE, context=" ".join(["3276a5b991c49cf5f9a4af0f7d6fce67"] * 20))
    (passage,) = reranker._passages(frozenset(content_stems(QUESTION)), record)
    assert passage.endswith(f". {WHALE}")
    assert sum(reranker.encoder.word_sizes(passage.split())) <= 160


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
    for one in half:
        assert one.score == pytest.approx(0.5 * z_prior[one.id] + 0.5 * scores[one.id] / UNIT)


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


def test_a_pages_score_is_that_of_its_best_window():
    filler = "Tickets are sold at the pier from nine to five every day. " * 20
    page = filler + WHALE + " " + filler
    for most in (1, 3):
        model = LocalReranker(windows=most, threads=1)
        windows = model._select_windows(frozenset(content_stems(QUESTION)), page)
        assert len(windows) == most
        assert WHALE in windows[0]
        (only,) = model.rerank(ranking(page))
        assert only.verdict.score == max(shipped_encoder()(QUESTION, windows)) > 0


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
    windows = [["whale", "blue", "x"], ["whale", "whale", "y"], ["heavi", "x", "x"], ["z"]]
    # "whale" stands in two of four windows, "blue" and "heavi" in one
    expected = [np.log(1 + 4 / 2) + np.log(1 + 4), np.log(1 + 4 / 2), np.log(1 + 4), 0.0]
    assert window_weights(frozenset({"whale", "blue", "heavi"}), windows) == pytest.approx(expected)


def test_windows_of_words_by_hand():
    assert word_windows([1, 2, 1, 1, 3, 1], 4, 2) == [range(3), range(1, 4), range(2, 4), range(4, 6)]
    assert word_windows([9, 1, 9], 4, 2) == [range(1), range(1, 2), range(2, 3)]
    assert word_windows([1, 1], 4, 3) == [range(2)]
    assert word_windows([], 4, 3) == []


def test_windows_hold_every_word_and_no_more_tokens_than_they_may():
    rng = random.Random(3)
    for _ in range(300):
        sizes = [rng.choice((1, 1, 1, 2, 5)) for _ in range(rng.randint(1, 60))]
        window = rng.randint(1, 20)
        stride = rng.randint(1, window)
        windows = word_windows(sizes, window, stride)
        assert [word for word in range(len(sizes)) if not any(word in one for one in windows)] == []
        starts = [one.start for one in windows]
        assert starts == sorted(set(starts))
        for one, following in zip(windows, [*windows[1:], None], strict=True):
            assert len(one) == 1 or sum(sizes[word] for word in one) <= window
            if following is not None:
                step = range(one.start, following.start)
                assert len(step) == 1 or sum(sizes[word] for word in step) <= stride


def test_no_more_windows_are_read_than_asked_for():
    rng = random.Random(2)
    model = LocalReranker(window=16, stride=12, windows=2, threads=1)
    for words in (0, 1, 10, 40, 400):
        windows = model._select_windows(frozenset({"whale"}), vocabulary_text(rng, words))
        assert len(windows) <= 2
        assert all(0 < sum(model.encoder.word_sizes(window.split())) <= 16 for window in windows)
        assert bool(windows) == bool(words)


def test_what_was_read_is_not_read_again(reranker, monkeypatch):
    encoder = shipped_encoder()
    before = ranking(*TEXTS, question="How many lanes has the bridge?")
    first = reranker.rerank(before)
    monkeypatch.setattr(type(encoder.load()), "run", None)  # nothing can be read now
    assert [(c.id, c.score) for c in reranker.rerank(before)] == [(c.id, c.score) for c in first]
    assert encoder("How many lanes has the bridge?", [TEXTS[0]]) == [first[0].verdict.score]


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
    with pytest.raises(UnsupportedInputError, match="reads words, and the question has none"):
        reranker.score(asked, ranking(*TEXTS).candidates)
    both = replace(asked, text=QUESTION)  # words alone would overrule the image
    assert "has an image, too" in reranker.rerank(replace(ranking(*TEXTS), query=both)).why_not


def test_a_question_longer_than_the_model_is_shortened_and_it_is_said(reranker):
    after = reranker.rerank(ranking(*TEXTS, question=QUESTION + " really" * 400))
    assert after.notes == ("the question was shortened to its first 128 tokens",)


@pytest.mark.parametrize("text", ["\x00", "\ud800", "x" * 5000, "[SEP] [CLS]", "漢字かな"])
def test_any_string_is_taken(reranker, text):
    assert np.isfinite(verdicts(reranker.rerank(ranking(text, WHALE)))["0"])


def test_letters_are_told_by_their_script():
    assert (
        is_latin("How heavy is it?")
        and is_latin("Wie groß, cœur, Łódź?")
        and is_latin("42 %")
        and is_latin("")
    )
    assert not is_latin("鯨の重さは?") and not is_latin("Сколько весит кит?")
    assert is_latin("whale 鯨") and not is_latin("kit 鯨の重さは何トン")


def test_what_is_not_in_latin_letters_keeps_its_place(reranker):
    russian = "Сколько весит синий кит?"
    after = reranker.rerank(ranking(*TEXTS, question=russian))
    assert (ids(after), after.reranked) == (["0", "1", "2", "3"], False)
    assert "not in Latin letters" in after.why_not
    with pytest.raises(UnsupportedInputError, match="Latin letters"):
        reranker.score(Query(text=russian), ranking(*TEXTS).candidates)
    after = reranker.rerank(ranking(TEXTS[0], russian, WHALE), alpha=0.0)
    assert [c.verdict.read for c in after] == [True, False, True]
    assert ids(after) == ["2", "1", "0"]


# --- settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "alpha is the weight of the retrieval score"),
        ({"depth": 0}, "depth must be a whole number of at least 1"),
        ({"window": 161}, "window must be a whole number from 1 to 120, got 161"),
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
    assert again.encoder is reranker.encoder
    assert len(pickle.dumps(reranker)) < 2000


def test_the_fingerprint_follows_what_changes_the_scores(reranker):
    assert LocalReranker(depth=3, alpha=0.0).fingerprint == reranker.fingerprint
    assert LocalReranker(DEFAULT_MODEL_DIR).fingerprint == reranker.fingerprint
    assert LocalReranker(window=64).fingerprint != reranker.fingerprint
    assert LocalReranker(windows=2).fingerprint != reranker.fingerprint


def test_the_cost_is_seconds(reranker):
    after = reranker.rerank(ranking(*TEXTS))
    assert after.usage.seconds["rerank"] > 0
    assert after.usage.prompt_tokens == after.usage.requests == 0
    assert 0 < sum(c.verdict.usage.seconds["rerank"] for c in after) <= after.usage.seconds["rerank"]


def test_the_settings_of_its_scores_are_the_fingerprint(reranker):
    assert reranker.score_settings() == {"fingerprint": reranker.fingerprint}
