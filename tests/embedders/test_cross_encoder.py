"""Laws of the cross-encoder: what it prefers, and that nothing beside the pair changes a score."""

import copy
import os
import pickle
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmrag.embedders.cross_encoder import CrossEncoder
from mmrag.embedders.onnx import OnnxBert

QUESTION = "How long does a brake pad last?"
ANSWER = "Brake pads are changed after four years."
PASSAGES = [ANSWER, "The depot lies in Hrabova.", "Wheels are turned in March.", "", "pads " * 3000]


@pytest.fixture(scope="module")
def model():
    return CrossEncoder(threads=1)


@pytest.fixture(scope="module")
def scores(model):
    return model(QUESTION, PASSAGES)


def test_the_answer_is_preferred(scores):
    assert scores[0] == max(scores)
    assert scores[0] > 0 > scores[1]


def test_a_score_depends_on_its_pair_alone(model, scores):
    for passage, score in zip(PASSAGES, scores, strict=True):
        assert model(QUESTION, [passage]) == pytest.approx([score], abs=1e-4)
    noise = random.Random(0)
    order = noise.sample(range(len(PASSAGES)), len(PASSAGES))
    shuffled = model(QUESTION, [PASSAGES[at] for at in order])
    assert shuffled == pytest.approx([scores[at] for at in order], abs=1e-4)


def test_threads_change_nothing(scores):
    assert CrossEncoder(threads=3)(QUESTION, PASSAGES) == pytest.approx(scores, abs=1e-4)


def test_long_texts_are_cut_and_odd_ones_read(model):
    tail = model(QUESTION, ["pads " * 3000 + ANSWER])
    assert tail == pytest.approx(model(QUESTION, ["pads " * 5000]), abs=1e-4)
    odd = ["", " ", "\x00", "[SEP] [CLS]", "\ud800", "\u05d0\u05d1", "7" * 5000, "\u200b", "e\u0301" * 400]
    assert len(model("", odd)) == len(odd)
    assert len(model("[SEP]" * 500 + "?", odd)) == len(odd)
    assert model(QUESTION, []) == []


def test_copies_and_pickles_keep_the_settings(model, scores):
    for twin in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        assert (twin.model_dir, twin.threads) == (model.model_dir, model.threads)
    assert twin(QUESTION, PASSAGES[:1]) == pytest.approx(scores[:1], abs=1e-4)


def test_threads_may_share_it(scores):
    model, found = CrossEncoder(threads=1), {}

    def work(number):
        found[number] = model(QUESTION, PASSAGES[:3])

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(found[number] == pytest.approx(scores[:3], abs=1e-4) for number in range(4))


def test_what_it_needs_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cross-encoder needs model.onnx"):
        CrossEncoder(tmp_path)
    with pytest.raises(ValueError, match="threads"):
        CrossEncoder(threads=0)


def test_the_runtime_reports_to_nobody_and_leaves_nothing_in_the_home_folder(tmp_path) -> None:
    """onnxruntime 1.32 keeps an identifier of the machine there, for reports that it sends."""
    script = (
        "import os\n"
        "from mmrag.embedders.cross_encoder import CrossEncoder\n"
        "print(len(CrossEncoder()('tea', ['Green tea.'])), os.environ['ORT_DISABLE_TELEMETRY'])\n"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**environment, "HOME": str(tmp_path)},
        check=True,
    )
    assert run.stdout.split() == ["1", "1"]
    assert list(tmp_path.iterdir()) == []


def test_threads_read_at_the_same_time(monkeypatch):
    """Each waits in the model until all are there: a lock held meanwhile would end the test."""
    model, barrier, run = CrossEncoder(threads=1), threading.Barrier(4), OnnxBert.run
    monkeypatch.setattr(OnnxBert, "run", lambda *tokens: (barrier.wait(30), run(*tokens))[1])
    with ThreadPoolExecutor(4) as threads:
        scores = list(threads.map(lambda number: model.score(QUESTION, f"pad {number}"), range(4)))
    assert len(set(scores)) == 4


def test_only_the_scores_used_last_are_kept(monkeypatch):
    read = []
    monkeypatch.setattr("mmrag.embedders.cross_encoder.MOST_SCORES", 2)
    monkeypatch.setattr(OnnxBert, "run", lambda *tokens: (read.append(0), [0.0])[1])
    model = CrossEncoder(threads=1)
    for passage in ("a", "b", "a", "c", "a"):  # b is the one that was used longest ago when c comes
        model.score(QUESTION, passage)
    assert len(read) == 3
    model.score(QUESTION, "b")
    assert len(read) == 4
