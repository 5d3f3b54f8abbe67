"""Laws of the providers of ONNX sessions: what is named is used or refused, in its order, the CPU last."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

import mmrag.onnx_sessions as onnx_sessions
from mmrag.cli import main
from mmrag.documents import ReaderSettings
from mmrag.documents.pool import Worker
from mmrag.embedders.cross_encoder import CrossEncoder, shipped_encoder
from mmrag.embedders.mini.embedder import MiniEmbedder
from mmrag.onnx_sessions import AUTO, CPU, PROVIDERS_VARIABLE, open_session, provider_order, started_providers
from mmrag.rerank.local import LocalReranker

ABSENT = "NotAnExecutionProvider"
LISTED = ["FirstExecutionProvider", "SecondExecutionProvider", "AzureExecutionProvider", CPU]
OTHER = next(
    (name for name in onnx_sessions.available_providers() if name not in onnx_sessions.NOT_DETECTED), ""
)
needs_another = pytest.mark.skipif(not OTHER, reason="onnxruntime lists no other provider than the CPU here")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    monkeypatch.delenv(PROVIDERS_VARIABLE, raising=False)
    onnx_sessions._starts.cache_clear()
    yield
    onnx_sessions._starts.cache_clear()


@pytest.fixture
def listed(monkeypatch):
    """onnxruntime lists more than it can start, as the wheel for CUDA does on a machine without a card."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: LISTED)


def names(order) -> list[str]:
    return [name for name, _ in order]


def test_the_cpu_is_the_default_and_asks_for_no_import():
    script = (
        "import sys\n"
        "from mmrag.onnx_sessions import provider_order\n"
        "print(provider_order(), 'onnxruntime' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == f"(({CPU!r}, ()),) False"
    assert started_providers() == (CPU,)


def test_the_order_is_kept_and_the_cpu_stands_last(listed):
    second, first = LISTED[1], LISTED[0]
    assert names(provider_order([second, first])) == [second, first, CPU]
    assert names(provider_order([second, CPU])) == [second, CPU]
    with pytest.raises(ValueError, match=f"must have {CPU} last.*got {CPU}, {first}"):
        provider_order([CPU, first])
    with pytest.raises(ValueError, match="each provider once"):
        provider_order([first, first])


def test_an_order_is_an_order_again(listed):
    order = provider_order([(LISTED[0], {"device_id": 1})])
    assert order == ((LISTED[0], (("device_id", "1"),)), (CPU, ()))
    assert provider_order(order) == order


@pytest.mark.parametrize("make", [MiniEmbedder, LocalReranker, CrossEncoder, shipped_encoder])
def test_a_provider_that_is_not_there_is_refused_when_a_model_is_made(make):
    with pytest.raises(
        ValueError, match=rf"providers must be of what onnxruntime has.*{CPU}.*got '{ABSENT}'"
    ):
        make(providers=[ABSENT])


def test_an_error_says_which_wheel_has_the_provider(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    for name, wheel in onnx_sessions.WHEELS.items():
        with pytest.raises(ValueError, match=f"pip install {wheel}$"):
            provider_order([name])


@pytest.mark.parametrize("wrong", [[3], [(CPU, 1, 2)], [None]])
def test_what_is_no_name_is_refused(wrong):
    with pytest.raises(TypeError, match="providers must be names"):
        provider_order(wrong)


def test_the_variable_stands_for_an_argument_and_an_argument_before_it(monkeypatch, listed):
    monkeypatch.setenv(PROVIDERS_VARIABLE, f" {LISTED[1]} , {CPU}")
    assert names(provider_order()) == [LISTED[1], CPU]
    assert names(provider_order([CPU])) == [CPU]
    monkeypatch.setenv(PROVIDERS_VARIABLE, " ")
    assert names(provider_order()) == [CPU]
    monkeypatch.setenv(PROVIDERS_VARIABLE, ABSENT)
    with pytest.raises(ValueError, match=f"^{PROVIDERS_VARIABLE} must be"):
        provider_order()


def test_auto_takes_what_starts(listed):
    """None of the listed ones starts here; of the others one may."""
    assert names(provider_order(AUTO)) == [CPU]


def test_a_provider_that_is_listed_and_does_not_start_is_an_error(listed):
    """onnxruntime alone goes on with the CPU and says so in its log."""
    with pytest.raises(ValueError, match=f"must start on this machine, got {LISTED[0]}.*'auto' leaves out"):
        MiniEmbedder(providers=LISTED[:1]).encode_query(["tea"])


def test_a_session_uses_one_core():
    options = open_session(onnx_sessions._IDENTITY).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_fingerprints_know_no_provider(listed):
    assert MiniEmbedder(providers=LISTED[:1]).fingerprint == MiniEmbedder().fingerprint
    assert LocalReranker(providers=LISTED[:1]).fingerprint == LocalReranker().fingerprint
    assert ReaderSettings(ocr_providers=LISTED[:1]).fingerprint() == ReaderSettings().fingerprint()


def test_copies_keep_the_providers(listed):
    mini = MiniEmbedder(providers=LISTED[:1])
    for model in (mini, CrossEncoder(providers=LISTED[:1])):
        assert names(pickle.loads(pickle.dumps(model)).providers) == [LISTED[0], CPU]
    assert (
        names(pickle.loads(pickle.dumps(LocalReranker(providers=LISTED[:1]))).encoder.providers)[0]
        == LISTED[0]
    )
    assert MiniEmbedder().__reduce__()[0].keywords.keys() == {"inputs", "budget", "compression"}


def test_models_of_one_order_share_their_weights(listed):
    assert shipped_encoder() is shipped_encoder([CPU]) is not shipped_encoder(LISTED[:1])
    assert LocalReranker(providers=LISTED[:1]).encoder is shipped_encoder(LISTED[:1])


def test_the_setting_reaches_reading_processes(monkeypatch, listed):
    pytest.importorskip("rapidocr", reason="the extra 'ocr' is not installed")
    monkeypatch.setenv(PROVIDERS_VARIABLE, LISTED[1])
    hellos = []
    monkeypatch.setattr(Worker, "_exchange", lambda self, message, seconds: hellos.append(message) or {})
    for settings in (ReaderSettings(), ReaderSettings(ocr_providers=LISTED[:1]), ReaderSettings(ocr="off")):
        Worker(settings).kill()
    assert [names(hello["ocr_providers"]) for hello in hellos] == [[LISTED[1], CPU], [LISTED[0], CPU], []]


def test_a_reading_process_refuses_what_does_not_start():
    pytest.importorskip("rapidocr", reason="the extra 'ocr' is not installed")
    from mmrag.documents.worker import JobHandler

    settings = {"ocr_max_side": 640, "ocr_model": None, "ocr_providers": ((ABSENT, ()), (CPU, ()))}
    with pytest.raises(ValueError, match=f"got '{ABSENT}'"):
        JobHandler(settings).do({"op": "load_ocr"})


def test_status_says_what_is_there_and_what_is_used(capsys, tmp_path, monkeypatch):
    from mmrag import DocumentQA

    with DocumentQA.open(tmp_path / "index") as qa:
        qa.add_texts(["Green tea."])
    assert main(["status", "--index", str(tmp_path / "index")]) == 0
    available = onnx_sessions.available_providers()
    assert f"ONNX: used {CPU}; available {', '.join(available)}\n" in capsys.readouterr().out
    assert main(["status", "--index", str(tmp_path / "index"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["onnx_providers"]
    assert shown == {"used": [CPU], "available": list(available)}
    monkeypatch.setenv(PROVIDERS_VARIABLE, ABSENT)
    assert main(["status", "--index", str(tmp_path / "index")]) != 0
    assert f"got '{ABSENT}'" in capsys.readouterr().err


@needs_another
def test_another_provider_gives_the_rows_and_verdicts_of_the_same_model():
    text = "The crane was sold for 4,150 pounds, and the board met again on 12 May."
    for ours, theirs in zip(
        MiniEmbedder().encode_document([text]),
        MiniEmbedder(providers=[OTHER]).encode_document([text]),
        strict=True,
    ):
        assert (ours * theirs).sum(1).min() > 0.97
        assert np.abs(ours - theirs).max() < 0.08
    passages = ["The board met on 12 May.", "Green tea."]
    scores = [CrossEncoder(providers=[name])("When did the board meet?", passages) for name in (CPU, OTHER)]
    assert scores[0] == pytest.approx(scores[1], abs=0.5)
    assert started_providers([OTHER]) == started_providers(AUTO) == (OTHER, CPU)


@needs_another
def test_another_provider_reads_the_same_words():
    pytest.importorskip("rapidocr", reason="the extra 'ocr' is not installed")
    from PIL import Image, ImageDraw, ImageFont

    from mmrag.documents import DocumentReader, discover

    picture = Image.new("RGB", (700, 140), "white")
    ImageDraw.Draw(picture).text(
        (30, 40), "Sold for 4,150 pounds", fill="black", font=ImageFont.load_default(28)
    )
    settings = ReaderSettings(ocr_providers=[OTHER], workers=1, ocr_seconds=600)
    with DocumentReader(settings) as reader:
        (found,) = discover(picture)
        (page,) = reader.pages(found)
    assert page.text == "Sold for 4,150 pounds"
