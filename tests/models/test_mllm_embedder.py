"""Laws of the embedder over tiny random models of the true classes. Their vectors mean nothing; that they
depend on the input, on nothing beside it, and are what the protocol promises, can be shown all the same."""

from __future__ import annotations

import asyncio
import logging
import pickle
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mmrag import Budget, Page, Query
from mmrag.embedders.base import Content, Embedder, Reasoner
from mmrag.errors import BadInputError
from mmrag.models.calls import Matrices
from mmrag.models.encoder import Batcher, OutOfMemoryError
from mmrag.models.mllm_embedder import MLLMEmbedder
from mmrag.models.model import RetrievalModel
from mmrag.models.prompt import Prompts
from mmrag.types import Source

from .families import MULTIMODAL

SMALL = {"allow_untrained": True, "max_visual_tokens": 16, "device": "cpu"}
TOLERANCE = 1e-5  # float32: sums over another padding may round differently


@pytest.fixture(scope="module", params=MULTIMODAL)
def embedder(request, tiny_folder) -> MLLMEmbedder:
    return MLLMEmbedder.from_pretrained(tiny_folder(request.param), **SMALL)


@pytest.fixture(scope="module")
def one(tiny_folder) -> MLLMEmbedder:
    """Of one family, where the family makes no difference."""
    return MLLMEmbedder.from_pretrained(tiny_folder("qwen3_vl"), **SMALL)


@pytest.fixture
def load(tiny_folder):
    def make(**options) -> MLLMEmbedder:
        return MLLMEmbedder.from_pretrained(tiny_folder("qwen3_vl"), **{**SMALL, **options})

    return make


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


def page(text: str = "", image: Image.Image | None = None, source: str = "layer") -> Page:
    file = Source(sha256="ab" * 32, kind="pdf", name="a.pdf")
    return Page("p", "d", 0, "1", text, (), (612, 792), file, 3, source, image=image)


def mixed() -> list:
    """Documents of every kind and of many lengths."""
    return [
        "Net sales fell.",
        Content(image=noise(90, 60)),
        "long " * 100,
        Content(parts=("before", noise(40, 80), "between", noise(200, 30), "after")),
        "",
        page("words", noise(70, 70)),
        Content("with a thought", thought="It is about a thing."),
        page("a page that was not rendered"),
    ]


def assert_close(a, b, tolerance=TOLERANCE) -> None:
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        np.testing.assert_allclose(left, right, atol=tolerance)


# --- what the protocol promises


def test_it_is_an_embedder(embedder):
    assert isinstance(embedder, Embedder) and embedder.nested
    assert embedder.modalities == {"text", "image"}
    assert embedder.budget == Budget(16, 64) and embedder.dim == 64
    assert embedder.name.endswith("(compression 2)") and embedder.name in repr(embedder)
    assert len(embedder.fingerprint) == 32 and int(embedder.fingerprint, 16) >= 0


def test_matrices_have_the_budgets_rows_of_length_one(embedder):
    documents, queries = embedder.encode_document(mixed()), embedder.encode_query(["a", "b c"])
    assert {m.shape for m in documents} == {(64, 64)} and {m.shape for m in queries} == {(16, 64)}
    for matrix in (*documents, *queries):
        assert matrix.dtype == np.float32 and matrix.flags.owndata
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-5)


def test_no_input_no_output(one):
    assert one.encode_document([]) == [] and one.encode_query([]) == []
    assert isinstance(one.encode_query([]), Matrices)


def test_alone_or_in_any_batch_the_vectors_are_the_same(embedder):
    documents = mixed()
    together = embedder.encode_document(documents)
    assert_close(together, [embedder.encode_document([document])[0] for document in documents])
    order = np.random.default_rng(1).permutation(len(documents))
    shuffled = embedder.encode_document([documents[i] for i in order], batch_size=3)
    assert_close([together[i] for i in order], shuffled)


def test_half_precision_differs_by_no_more_than_the_docs_say(tiny_folder):
    """bfloat16 keeps 8 bits: 2^-8 a number. Measured 0.004 at most, cosine 0.9999 at least."""
    half = MLLMEmbedder.from_pretrained(tiny_folder("qwen3_vl"), dtype="bfloat16", **SMALL)
    documents = mixed()
    together = half.encode_document(documents)
    alone = [half.encode_document([document])[0] for document in documents]
    assert_close(together, alone, 0.01)
    assert min((a * b).sum(axis=1).min() for a, b in zip(together, alone, strict=True)) > 0.9995


def test_vectors_depend_on_every_part_of_an_input(one):
    image, other = noise(90, 60), noise(90, 60, seed=1)
    kinds = [
        Content("a", image), Content("b", image), Content("a", other), Content("a"), Content(image=image),
        Content(parts=("a", image)), Content(parts=(image, other, "a")), Content(parts=(other, image, "a")),
        Content("a", image, thought="t"), Content("a", image, instruction="i"),
        Content("a", image, instruction=""),
    ]  # fmt: skip
    matrices = one.encode_document(kinds)
    for i, left in enumerate(matrices):
        for right in matrices[i + 1 :]:
            assert np.abs(left - right).max() > 1e-3


def test_text_and_image_are_the_same_content_in_either_form(one):
    image = noise(90, 60)
    assert_close(
        one.encode_document([Content("a", image), page("a"), Content(image=image)]),
        one.encode_document([Content(parts=(image, "a")), "a", page("not read", image)]),
    )
    assert_close(
        one.encode_query([Query("a", image), "b"]), one.encode_query([Query(parts=(image, "a")), Query("b")])
    )


def test_queries_and_documents_are_told_apart(one):
    (query,), (document,) = one.encode_query(["same words"]), one.encode_document(["same words"])
    assert np.abs(query - document[:16]).max() > 1e-3


def test_an_instruction_given_is_the_one_used(load):
    worded = load(prompts=Prompts(query="Find it.", document="Read it."))
    plain = load(prompts=Prompts(query="", document=""))
    assert_close(worded.encode_query(["a"]), plain.encode_query([Query("a", instruction="Find it.")]))
    assert_close(worded.encode_query([Query("a", instruction="")]), plain.encode_query(["a"]))
    assert_close(worded.encode_document(["a"]), plain.encode_document([Content("a", instruction="Read it.")]))


def test_the_text_of_a_page_is_read_where_asked(load):
    image = noise(90, 60)
    layer, ocr = page("words", image), page("words", image, "ocr")
    both, alone = [Content("words", image)], [Content(image=image)]
    for page_text, expected in ((False, alone * 2), (True, both * 2), ("auto", both + alone)):
        made = load(page_text=page_text)
        assert_close(made.encode_document([layer, ocr]), made.encode_document(expected))


# --- budgets, compression, one vector


def test_a_smaller_budget_is_a_prefix(one, tmp_path):
    one.save_pretrained(tmp_path)
    small = MLLMEmbedder.from_pretrained(tmp_path, budget=Budget(3, 5), **SMALL)
    whole = one.encode_document(mixed())
    assert_close([m[:5] for m in whole], small.encode_document(mixed()))
    assert_close([m[:3] for m in one.encode_query(["a"])], small.encode_query(["a"]))


def test_a_single_vector_is_cut_and_scaled_to_length_one(embedder, tiny_folder):
    folder = tiny_folder(embedder.config.model_type)
    full = MLLMEmbedder.from_pretrained(folder, pooling="last", **SMALL)
    cut = MLLMEmbedder.from_pretrained(folder, pooling="last", dim=8, **SMALL)
    assert full.budget == cut.budget == Budget(1, 1) and (full.dim, cut.dim) == (64, 8)
    for wide, narrow in zip(full.encode_document(mixed()), cut.encode_document(mixed()), strict=True):
        assert wide.shape == (1, 64)
        prefix = wide[0, :8]
        np.testing.assert_allclose(narrow[0], prefix / np.linalg.norm(prefix), atol=TOLERANCE)


def test_the_encoder_sees_the_same_pixels_at_every_compression(load):
    image = noise(400, 300)
    prepared = []
    for factor in (1, 2, 4):
        made = load(compression=factor, max_visual_tokens=None)
        item = made._encoder.prepare(_item(image), "document")
        prepared.append((item.row.images[0].grids, item.row.ids.count(made.model.backbone.image_token_id)))
    grids, counts = zip(*prepared, strict=True)
    assert len(set(grids)) == 1
    assert counts[0] > 3.5 * counts[1] > 12 * counts[2]


def test_the_baseline_of_fewer_pixels_has_as_few_tokens(load):
    image = noise(400, 300)
    compressed = load(compression=2, max_visual_tokens=80)._encoder.prepare(_item(image), "document")
    reduced = load(compression=1, max_visual_tokens=80)._encoder.prepare(_item(image), "document")
    assert 65 <= len(reduced.row.ids) <= len(compressed.row.ids) <= 80 + 12  # and a dozen marks
    assert compressed.cost > 2 * reduced.cost


def _item(image):
    from mmrag.models.inputs import Item

    return Item((image,))


# --- thoughts


class Thinker:
    """A reasoner that notes what it is asked."""

    def __init__(self, way: str = "slow") -> None:
        self.fingerprint = way
        self.asked: list[object] = []

    def think_queries(self, queries) -> list[str]:
        self.asked += queries
        return [f"about {query if isinstance(query, str) else query.text}" for query in queries]

    def think_documents(self, documents) -> list[str]:
        self.asked += documents
        return [
            f"says {document.text if isinstance(document, Content) else document}" for document in documents
        ]


def test_a_thought_is_written_where_none_is_given(load, one):
    thinker = Thinker()
    thinking: Reasoner = thinker
    made = load(thoughts=thinking)
    assert_close(
        made.encode_query(["x", Query("y", thought="given")]),
        one.encode_query([Query("x", thought="about x"), Query("y", thought="given")]),
    )
    assert_close(
        made.encode_document([Content("d", thought="own"), "e"]),
        one.encode_document([Content("d", thought="own"), Content("e", thought="says e")]),
    )
    assert thinker.asked == ["x", "e"]
    made.encode_query([Query("y", thought="given")])
    assert thinker.asked == ["x", "e"], "asked although there was nothing to think about"


def test_the_way_of_thinking_is_part_of_what_an_embedder_is(load, one):
    ways = [one, load(thoughts=Thinker("slow")), load(thoughts=Thinker("fast"))]
    assert len({made.fingerprint for made in ways}) == 3
    assert load(thoughts=Thinker("slow")).fingerprint == ways[1].fingerprint


# --- bad input


def bad_inputs() -> dict[str, object]:
    return {
        "nothing": None,
        "a number": 7,
        "no pixels": Content(image=Image.new("RGB", (0, 4))),
        "a thread": Content(image=Image.new("RGB", (900, 2))),
        "too many images": Content(parts=tuple(noise(200, 200) for _ in range(3))),
        "too long an instruction": Content("x", instruction="very " * 60),
    }


@pytest.mark.parametrize("kind", bad_inputs())
def test_a_bad_input_is_named_with_its_place_and_costs_no_other_where_skipped(kind, load):
    made = load(max_tokens=60, prompts=Prompts("", "", ""))
    good = ["first", "second", "third"]
    given = [good[0], good[1], bad_inputs()[kind], good[2]]
    with pytest.raises((BadInputError, TypeError), match=r"\b2\b") as caught:
        made.encode_document(given)
    assert isinstance(caught.value, TypeError) or caught.value.index == 2
    kept = made.encode_document(given, on_error="skip")
    assert kept[2] is None and [*kept.skipped] == [2]
    assert kept.skipped[2] in str(caught.value)
    assert_close([kept[0], kept[1], kept[3]], made.encode_document(good))


def test_bad_queries_are_skipped_too(load):
    made = load(on_error="skip")
    kept = made.encode_query(["a", "", None, "b"])
    assert list(kept.skipped) == [1, 2] and kept[1] is None and kept[2] is None
    assert_close([kept[0], kept[3]], made.encode_query(["a", "b"]))
    with pytest.raises(BadInputError, match="query 1"):
        made.encode_query(["a", ""], on_error="raise")
    assert made.encode_query([None]) == [None]


def test_a_call_that_is_no_list_is_refused(one):
    with pytest.raises(TypeError, match=r"documents must be a list, got str\. Wrap"):
        one.encode_document("text")
    with pytest.raises(TypeError, match="queries must be a list, got generator"):
        one.encode_query(text for text in "ab")
    with pytest.raises(ValueError, match="batch_size must be a whole number"):
        one.encode_query(["a"], batch_size=0)
    with pytest.raises(ValueError, match="on_error must be one of"):
        one.encode_query(["a"], on_error="hide")


def test_a_long_text_is_cut_and_says_so(load, caplog):
    """One token a byte: the vector is that of the text's beginning."""
    made = load(max_tokens=200, prompts=Prompts("", "", ""))
    room = 200 - len(made._encoder.template.tokenize(_item_of_text("x"), "document", []).ids) + 1
    text = "".join(chr(97 + i % 26) for i in range(1000))
    with caplog.at_level(logging.WARNING, logger="mmrag"):
        found = made.encode_document(["short", text])
    assert found.cut == [1] and not found.skipped
    assert "1 of 2 documents were longer than max_tokens=200 and their text was cut" in caplog.text
    assert_close([found[1]], made.encode_document([text[:room]]))
    assert made.encode_document([text[:room]]).cut == []


def _item_of_text(text: str):
    from mmrag.models.inputs import Item

    return Item((text,))


# --- memory, threads, processes


def test_batches_are_formed_largest_first_within_the_cost():
    seen: list[list[int]] = []

    def work(positions):
        seen.append(list(positions))
        return [f"r{p}" for p in positions]

    results = dict(Batcher(3, 10).run([1, 5, 2, 5, 20, 1, 1], work, 8))
    assert seen == [[4], [1, 3], [2, 0, 5], [6]]
    assert results == {p: f"r{p}" for p in range(7)}


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_batch_that_does_not_fit_is_halved_and_remembered(most, caplog):
    batcher = Batcher(16, 1000)
    tried: list[int] = []

    def work(positions):
        tried.append(len(positions))
        if len(positions) > most:
            raise OutOfMemoryError("full")
        return list(positions)

    with caplog.at_level(logging.WARNING, logger="mmrag"):
        assert dict(batcher.run([10] * 20, work, 16)) == {p: p for p in range(20)}
    told = len(caplog.records)
    assert (
        told == sum(size > most for size in tried)
        and "out of memory at 16 inputs; going on with 8" in caplog.text
    )
    tried.clear()
    list(batcher.run([10] * 20, work, 16))
    assert max(tried) <= most and len(caplog.records) == told


def test_what_is_remembered_is_the_cost_and_not_the_number():
    """Pages that do not fit side by side do not make questions go one by one."""
    costs = [100] * 4 + [1] * 16
    sizes: list[int] = []

    def work(positions):
        if sum(costs[p] for p in positions) > 200:
            raise OutOfMemoryError("full")
        sizes.append(len(positions))
        return list(positions)

    assert dict(Batcher(16, 1000).run(costs, work, 16)) == {p: p for p in range(20)}
    assert sizes == [2, 2, 16]


class Crowded(RetrievalModel):
    """Stands for a device that is too small, which cannot be had at will."""

    most = 2
    error: type[RuntimeError] = torch.OutOfMemoryError
    words = "CUDA out of memory. Tried to allocate 1 GiB."

    def forward(self, batch, side, rows=1):
        if len(batch.content) > self.most:
            raise self.error(self.words)
        return super().forward(batch, side, rows)


@pytest.fixture
def crowded(load):
    made = load()
    model = made.model
    small = Crowded(model.backbone, model.compression, model.meta).eval()
    return MLLMEmbedder(small, replace(made.config), name="crowded")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError, "CUDA out of memory."),
        (RuntimeError, "MPS backend out of memory (MPS allocated: 9 GB)"),
        (RuntimeError, "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_halves_the_batch_and_loses_nothing(crowded, one, caplog, error, words):
    crowded.model.error, crowded.model.words = error, words
    with caplog.at_level(logging.WARNING, logger="mmrag"):
        found = crowded.encode_document(mixed())
        told = [record.message for record in caplog.records]
        crowded.encode_document(mixed())
    assert_close(found, one.encode_document(mixed()))
    assert told[:2] == [
        "out of memory at 8 inputs; going on with 4 at a time",
        "out of memory at 4 inputs; going on with 2 at a time",
    ]
    assert len(caplog.records) == len(told), "said again what was known"


def test_one_input_that_does_not_fit_is_an_error_and_others_still_work(crowded):
    crowded.model.most = 0
    with pytest.raises(MemoryError, match=r"one input of \d+ tokens must fit cpu.*Lower max_visual_tokens"):
        crowded.encode_document(["a", "b"])
    crowded.model.most = 2
    assert len(crowded.encode_document(["a", "b"])) == 2


def test_another_failure_of_the_model_is_not_taken_for_memory(crowded):
    crowded.model.most, crowded.model.error, crowded.model.words = 0, RuntimeError, "shapes do not match"
    with pytest.raises(RuntimeError, match="shapes do not match"):
        crowded.encode_document(["a"])


def test_a_call_may_ask_for_smaller_batches_only(crowded):
    crowded.model.most = 3
    made = MLLMEmbedder(crowded.model, crowded.config, name="c", batch_size=3)
    crowded.model.words = "never"
    assert len(made.encode_document(["a"] * 7, batch_size=100)) == 7


def test_one_embedder_serves_many_threads(one):
    inputs = [Content(f"text {i}", noise(60 + i, 50, seed=i)) for i in range(6)]
    found: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        found[i] = one.encode_document([inputs[i]])[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_close([found[i] for i in range(6)], one.encode_document(inputs))


async def test_the_async_twins_agree(one):
    documents, queries = await asyncio.gather(
        one.aencode_document(["a", None], on_error="skip"), one.aencode_query(["b"], batch_size=1)
    )
    assert_close(documents[:1], one.encode_document(["a"]))
    assert_close(queries, one.encode_query(["b"]))
    assert list(documents.skipped) == [1]


def test_many_images_are_prepared_a_window_at_a_time(one):
    """More than two windows: order and company do not matter."""
    inputs = [noise(30 + i, 40, seed=i) for i in range(35)]
    found = one.encode_document([Content(image=image) for image in inputs])
    for place in (0, 16, 34):
        assert_close([found[place]], one.encode_document([Content(image=inputs[place])]))


def test_progress_is_shown_only_when_asked(one, capsys):
    one.encode_document(["a"])
    assert capsys.readouterr().err == ""
    one.encode_document(["a", None, Content(image=noise(30, 30))], show_progress=True, on_error="skip")
    assert "3/3" in capsys.readouterr().err


def test_a_pickled_embedder_is_the_same_embedder(load):
    """Worker processes of a host get their copy this way; the weights do not travel."""
    made = load(compression=3, budget=Budget(2, 3), page_text="auto", max_tokens=300)
    data = pickle.dumps(made)
    copy = pickle.loads(data)
    assert len(data) < 2000
    assert copy.fingerprint == made.fingerprint and repr(copy) == repr(made)
    assert_close(copy.encode_query(["tides"]), made.encode_query(["tides"]))


def test_a_model_in_memory_cannot_be_pickled(crowded):
    with pytest.raises(TypeError, match=r"cannot be pickled.*save_pretrained"):
        pickle.dumps(crowded)


def test_a_bad_input_error_survives_a_process_border():
    error = pickle.loads(pickle.dumps(BadInputError("document", 3, "no pixels.")))
    assert (str(error), error.index, error.reason) == ("document 3: no pixels.", 3, "no pixels.")


def test_vectors_that_are_no_numbers_are_refused(load):
    made = load()
    with torch.no_grad():
        made.model.meta.document[5] = float("nan")
    with pytest.raises(ValueError, match="must be finite"):
        made.encode_document(["a"])
    kept = made.encode_document(["a", "b"], on_error="skip")
    assert kept == [None, None] and "must be finite" in kept.skipped[1]


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_without_the_extra_the_name_is_there_and_says_what_to_install(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from mmrag import MLLMEmbedder\n"
        "try:\n    MLLMEmbedder.from_pretrained('.')\n"
        "except ImportError as error:\n    print(type(error).__name__, error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == (
        "MissingExtraError MLLMEmbedder needs the extra 'mllm'. Install it with: pip install 'mmrag[mllm]'\n"
    )
