"""Laws of the text embedder, on a real exported encoder."""

import asyncio
import pickle
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from mmrag.embedders.base import Content, Embedder
from mmrag.embedders.onnx import slide
from mmrag.embedders.text import (
    QUERY_INSTRUCTION,
    TextEmbedder,
    spread_order,
)
from mmrag.errors import UnsupportedInputError
from mmrag.types import Budget, Page, Query, Source


@pytest.fixture(scope="module")
def embedder(text_encoder) -> TextEmbedder:
    return TextEmbedder(text_encoder, threads=1)


@pytest.fixture(scope="module")
def short_windows(text_encoder) -> TextEmbedder:
    """Windows of 16 tokens, so that short texts have many."""
    return TextEmbedder(text_encoder, window=16, stride=12, max_rows=8, threads=1)


def page(text: str, *, name: str = "report.pdf", total: int = 3, image: Image.Image | None = None) -> Page:
    source = Source(sha256="ab" * 32, kind="pdf", name=name)
    return Page(
        source.page_id(0), source.document_id, 0, "1", text, (), (612, 792), source, total, image=image
    )


def sentences(count: int) -> str:
    return " ".join(
        f"Item {number} of the list costs {number * 7} euros in shop {number}." for number in range(count)
    )


def alike(rows: np.ndarray, others: np.ndarray) -> None:
    """The same up to rounding, for other threads or sessions.

    A last bit of float32 that differs tips steps of int8 in every layer: noise of 2e-7 on the input leaves a
    cosine of 0.992 (measured with mmrag-mini, which has the same encoder).
    """
    assert rows.shape == others.shape
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    assert ((rows * others).sum(1) / lengths).min() > 0.98


# --- windows


def test_windows_by_hand():
    assert slide([], 4, 3) == [[]]
    assert slide([1, 2, 3, 4], 4, 3) == [[1, 2, 3, 4]]
    assert slide([1, 2, 3, 4, 5], 4, 3) == [[1, 2, 3, 4], [4, 5]]


def test_windows_cover_every_token_and_none_is_empty():
    rng = np.random.default_rng(0)
    for _ in range(300):
        count, window = int(rng.integers(0, 60)), int(rng.integers(1, 20))
        stride = int(rng.integers(1, window + 1))
        windows = slide(list(range(count)), window, stride)
        assert sorted({token for part in windows for token in part}) == list(range(count))
        assert all(part for part in windows) or count == 0
        assert max(map(len, windows)) <= window


def test_spread_order_by_hand():
    assert spread_order(1) == [0]
    assert spread_order(2) == [0, 1]
    assert spread_order(5) == [0, 4, 2, 1, 3]


@pytest.mark.parametrize("count", [3, 7, 16, 63])
def test_every_prefix_is_spread_over_the_page(count):
    order = spread_order(count)
    assert sorted(order) == list(range(count))
    for size in range(2, count + 1):
        gaps = np.diff(sorted(order[:size]))
        assert gaps.max() <= np.ceil(2 * count / size)


# --- documents


def test_one_window_is_one_row(embedder):
    (matrix,) = embedder.encode_document(["Net sales fell in Europe."])
    assert matrix.shape == (1, 384)
    assert matrix.dtype == np.float32


def test_row_zero_is_the_mean_of_the_windows(short_windows):
    (matrix,) = short_windows.encode_document([sentences(4)])
    assert 2 < len(matrix) <= 8
    np.testing.assert_allclose(matrix[0], matrix[1:].mean(axis=0), atol=1e-6)
    assert np.linalg.norm(matrix[0]) < 1


def test_windows_are_normalised(short_windows):
    for matrix in short_windows.encode_document(["a", "", sentences(3)]):
        np.testing.assert_allclose(np.linalg.norm(matrix[-1:], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(matrix[1:], axis=1), 1, atol=1e-5)


def test_the_mean_never_beats_the_best_window(short_windows):
    """Bug guarded: a mean scaled to length 1 won against its own windows and lifted long pages."""
    (matrix,) = short_windows.encode_document([sentences(4)])
    for query in short_windows.encode_query(["list of prices", "shop 2", "euros", "anything else"]):
        scores = (query @ matrix.T)[0]
        assert scores[0] <= scores[1:].max()
        assert scores[0] == pytest.approx(scores[1:].mean(), abs=1e-5)


def test_a_long_text_merges_neighbours_and_drops_nothing(short_windows, text_encoder):
    """Eight rows for dozens of windows: the last sentence must still be found, and the mean is of all."""
    wide = TextEmbedder(text_encoder, window=16, stride=12, max_rows=64, threads=1)
    text = sentences(10)
    (few,), (all_rows,) = short_windows.encode_document([text]), wide.encode_document([text])
    assert len(few) == 8
    assert len(all_rows) > 10
    order = spread_order(len(all_rows) - 1)
    windows = np.empty_like(all_rows[1:])
    windows[order] = all_rows[1:]
    merged = np.empty_like(few[1:])
    merged[spread_order(7)] = few[1:]
    edges = np.linspace(0, len(windows), 8).astype(int)
    for row, low, high in zip(merged, edges, edges[1:], strict=False):
        np.testing.assert_allclose(row, windows[low:high].mean(axis=0), atol=1e-5)


def test_a_single_row_is_the_mean(text_encoder):
    one = TextEmbedder(text_encoder, window=16, stride=12, max_rows=1, threads=1)
    many = TextEmbedder(text_encoder, window=16, stride=12, max_rows=8, threads=1)
    text = sentences(4)
    alike(one.encode_document([text])[0], many.encode_document([text])[0][:1])


def test_vectors_do_not_depend_on_batch_neighbours(embedder):
    """Bug guarded: int8 activations are quantised over the whole batch; padded batches gave cosine 0.985.

    Equal bits are the law of `mmrag.embedders.onnx`, for two runs on one thread of one process.
    """
    texts = ["x", sentences(2), "Net sales fell.", "How to boil an egg. " * 40, ""]
    together = embedder.encode_document(texts)
    for text, matrix in zip(texts, together, strict=True):
        np.testing.assert_array_equal(matrix, embedder.encode_document([text])[0])


def test_vectors_do_not_depend_on_threads_or_batch_size(short_windows, text_encoder):
    parallel = TextEmbedder(text_encoder, window=16, stride=12, max_rows=8, threads=2)
    texts = [sentences(count) for count in (1, 5, 2)]
    expected = short_windows.encode_document(texts)
    for alone, many in zip(expected, short_windows.encode_document(texts, batch_size=1), strict=True):
        np.testing.assert_array_equal(alone, many)
    for alone, many in zip(expected, parallel.encode_document(texts), strict=True):
        alike(alone, many)


def test_no_input_no_output(embedder):
    assert embedder.encode_document([]) == []
    assert embedder.encode_query([]) == []


def test_str_page_and_content_of_the_same_text_agree(embedder):
    text = "The rent is due on the first day of the month."
    picture = Image.new("RGB", (8, 8))
    inputs = [text, page(text), Content(text), page(text, image=picture), Content(text, picture)]
    matrices = embedder.encode_document(inputs)
    for matrix in matrices[1:]:
        np.testing.assert_array_equal(matrix, matrices[0])


def test_an_image_alone_is_refused(embedder):
    with pytest.raises(
        UnsupportedInputError, match="reads text only, got an image without text as document 1"
    ):
        embedder.encode_document(["text", Content(image=Image.new("RGB", (8, 8)))])


def test_another_type_is_refused(embedder):
    with pytest.raises(TypeError, match="must be str, Page or Content, got int at 0"):
        embedder.encode_document([3])
    with pytest.raises(TypeError, match=r"must be a list, got str. Wrap a single one"):
        embedder.encode_document("text")


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "a\x00b",
        "\ud800",
        "a\udfffb",
        "\U0001f600 \ud83d\ude00",
        "x" * 300_000,
        "漢字かな",
        "\u202e",
        "[SEP]",
    ],
    ids=["nul", "inner-nul", "high", "low", "pair", "no-space", "cjk", "rtl-mark", "special"],
)
def test_any_string_is_taken(embedder, text):
    (matrix,) = embedder.encode_document([text])
    assert np.isfinite(matrix).all()
    assert np.isfinite(embedder.encode_query([text])[0]).all()


def test_text_that_spells_a_special_token_is_words(embedder):
    bert = embedder._load()
    raw = bert._tokenizer._tokenizer
    ends = {bert._tokenizer.first, bert._tokenizer.last}
    assert ends & set(raw.encode("a [SEP] b", add_special_tokens=False).ids)  # it would have worked
    for text in ("a [SEP] b", "[CLS][SEP]", "x[CLS]y", "[SEP]" * 9):
        assert not ends & set(bert.tokenize(text)), text
        assert not ends & {id for word in bert.tokenize_words([text, "[SEP]"]) for id in word}, text


def test_tokens_of_a_long_text_do_not_depend_on_the_pieces(embedder):
    text = "misunderstanding " * 15_000  # a piece of 100,000 characters would end inside a word
    whole = embedder._load()._tokenizer._tokenizer.encode(text, add_special_tokens=False).ids
    assert embedder._load().tokenize(text) == whole


# --- pages without text


def test_a_page_without_text_has_a_legal_matrix(embedder):
    blank, content, spaces = embedder.encode_document([page(""), Content(""), page(" \n ")])
    assert blank.shape == (1, 384)
    np.testing.assert_array_equal(blank, content)
    np.testing.assert_array_equal(blank, spaces)


def test_a_photograph_is_found_by_its_name(embedder):
    inputs = [
        page("", name="Eiffel-tower_2019.jpg", total=1),
        page("", name="IMG_2034.jpg", total=1),
        page("Net sales in Europe fell by four percent to 24.1 billion dollars."),
    ]
    photo, camera, text = (matrix[0] for matrix in embedder.encode_document(inputs))
    (tower,) = embedder.encode_query(["Where is a picture of the Eiffel Tower?"])[0]
    (sales,) = embedder.encode_query(["How did sales change in Europe?"])[0]
    assert tower @ photo > max(tower @ camera, tower @ text)
    assert sales @ text > max(sales @ camera, sales @ photo)


def test_a_blank_page_of_a_long_file_does_not_win_by_the_file_name(embedder):
    (blank,) = embedder.encode_document([page("", name="europe-net-sales.pdf", total=40)])
    (empty,) = embedder.encode_document([""])
    np.testing.assert_array_equal(blank, empty)


# --- queries


def test_a_paraphrase_scores_higher_than_another_topic(embedder):
    (query,) = embedder.encode_query(["How did sales change in Europe?"])
    near, far = embedder.encode_document(
        [
            "European revenue fell by four percent in the year.",
            "Boil the egg for six minutes in salted water.",
        ]
    )
    assert query.shape == (1, 384)
    assert (query @ near.T).item() > (query @ far.T).item() + 0.15


def test_the_instruction_is_a_prefix_and_can_be_replaced(embedder):
    text = "How did sales change?"
    plain, none, own = embedder.encode_query(
        [text, Query(text=text, instruction=""), Query(text=text, instruction="Find a table: ")]
    )
    # a question is brought to length one once more, which may move a last bit
    np.testing.assert_allclose(plain, embedder.encode_document([QUERY_INSTRUCTION + text])[0], atol=1e-6)
    np.testing.assert_allclose(none, embedder.encode_document([text])[0], atol=1e-6)
    assert not np.array_equal(own, plain)


def test_a_long_question_is_not_cut_off(embedder):
    """The end of a question of thousands of tokens still moves its vector."""
    start = "Please read this carefully. " * 300
    one, other = embedder.encode_query([start + "What is the rent?", start + "Who painted the ceiling?"])
    assert one.shape == (1, 384)
    assert not np.array_equal(one, other)


def test_an_instruction_that_fills_the_window_is_refused(embedder):
    with pytest.raises(ValueError, match="instruction must have fewer than 510 tokens, got 600"):
        embedder.encode_query([Query(text="What?", instruction="find " * 600)])


@pytest.mark.parametrize("text", [None, "What is this?"])
def test_an_image_in_a_query_is_refused(embedder, text):
    with pytest.raises(UnsupportedInputError, match="reads text only, got an image in query 0"):
        embedder.encode_query([Query(text=text, image=Image.new("RGB", (8, 8)))])


# --- what it says of itself


def test_it_is_an_embedder(embedder):
    assert isinstance(embedder, Embedder)
    assert embedder.name == "bge-small (text only)"
    assert embedder.dim == 384
    assert embedder.budget == Budget(1, 64)
    assert embedder.modalities == {"text"}


def test_fingerprint_changes_with_every_setting_that_changes_vectors(tmp_path, text_encoder, embedder):
    names = {
        TextEmbedder(text_encoder, **settings).fingerprint
        for settings in ({}, {"window": 100, "stride": 90}, {"stride": 199}, {"max_rows": 9})
    }
    assert len(names) == 4
    assert embedder.fingerprint == TextEmbedder(text_encoder, threads=2).fingerprint
    copy = shutil.copytree(text_encoder, tmp_path / "copy")
    assert TextEmbedder(copy).fingerprint == embedder.fingerprint  # wherever the files are
    for name in ("tokenizer.json", "model.onnx"):
        before = TextEmbedder(copy).fingerprint
        with (copy / name).open("ab") as file:
            file.write(b"\n")
        assert TextEmbedder(copy).fingerprint != before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 511}, "window must be a whole number from 1 to 510, got 511"),
        ({"window": 100, "stride": 101}, "stride must be a whole number from 1 to 100, got 101"),
        ({"max_rows": 0}, "max_rows must be a whole number from 1 to 64, got 0"),
        ({"threads": 0}, "threads must be a whole number from 1 to 1024, got 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, message, text_encoder):
    with pytest.raises(ValueError, match=message):
        TextEmbedder(text_encoder, **settings)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"needs model\.onnx in its folder"):
        TextEmbedder(tmp_path)


def test_one_embedder_serves_many_threads(text_encoder):
    shared = TextEmbedder(text_encoder, threads=1)  # not loaded yet: the threads race to load it
    texts = [f"Chapter {number} is about subject {number}." for number in range(6)]
    found: dict[str, np.ndarray] = {}

    def work(text: str) -> None:
        found[text] = shared.encode_document([text])[0]

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text, matrix in zip(texts, shared.encode_document(texts), strict=True):
        alike(found[text], matrix)


async def test_the_async_twins_agree(embedder):
    documents, queries = await asyncio.gather(
        embedder.aencode_document(["A table of prices."]), embedder.aencode_query(["What does it cost?"])
    )
    alike(documents[0], embedder.encode_document(["A table of prices."])[0])
    alike(queries[0], embedder.encode_query(["What does it cost?"])[0])


def test_progress_is_shown_only_when_asked(embedder, capsys):
    embedder.encode_document(["a"])
    assert capsys.readouterr().err == ""
    embedder.encode_document(["a"], show_progress=True)
    assert "window" in capsys.readouterr().err


def test_a_pickled_embedder_is_the_same_embedder(text_encoder):
    """Worker processes of a host get their copy this way; the weights do not travel."""
    made = TextEmbedder(text_encoder, window=128, stride=100, max_rows=8)
    made.encode_query(["loaded now"])
    data = pickle.dumps(made)
    copy = pickle.loads(data)
    assert len(data) < 1000
    assert copy.fingerprint == made.fingerprint
    alike(copy.encode_query(["tides"])[0], made.encode_query(["tides"])[0])
