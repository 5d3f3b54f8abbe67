"""Laws of `MiniEmbedder`, on the weights that ship; none depends on how well they read."""

from __future__ import annotations

import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from mmrag.embedders.base import Content, Embedder
from mmrag.embedders.mini.embedder import (
    FULL,
    INSTRUCTION_ROOM,
    LEVELS,
    MODEL_DIR,
    PART_WEIGHT,
    MiniEmbedder,
    TextWords,
)
from mmrag.embedders.mini.encoder import MiniEncoder
from mmrag.embedders.mini.reader import ReadWord
from mmrag.errors import UnsupportedInputError
from mmrag.types import Budget, Page, Query, Source, Word

LINES = [
    "Annual report of the harbour board",
    "Net sales in Europe fell by four percent to 24 million",
    "The warranty covers defects in material for two years",
    "Travel requests are signed by the head of department",
]
TEXT = " ".join(LINES)
SMALL = Budget(query=4, document=8)


@pytest.fixture(scope="module")
def both() -> MiniEmbedder:
    return MiniEmbedder(threads=1)


@pytest.fixture(scope="module")
def pixels(both) -> MiniEmbedder:
    return both.with_inputs("pixels")


@pytest.fixture(scope="module")
def text_only(both) -> MiniEmbedder:
    return both.with_inputs("text")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A small picture of print; a whole page takes ten times as long to read."""
    return drawn(LINES)


def drawn(lines: list[str]) -> Image.Image:
    import pymupdf

    with pymupdf.open() as document:
        page = document.new_page(width=340, height=200)
        for row, line in enumerate(lines):
            page.insert_text((20, 40 + 30 * row), line, fontsize=11)
        pixmap = page.get_pixmap(dpi=90)
        return Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)


def page(
    text: str = "", *, image: Image.Image | None = None, words: tuple[Word, ...] = (), total: int = 3
) -> Page:
    source = Source(sha256="ab" * 32, kind="pdf", name="report.pdf")
    return Page(
        source.page_id(0), source.document_id, 0, "1", text, words, (612, 792), source, total, image=image
    )


def sharing(embedder: MiniEmbedder, **options) -> MiniEmbedder:
    """Another embedder on weights that are loaded already."""
    made = MiniEmbedder(**{"threads": 1, **options})
    made._encoder, made._reader = embedder._load()
    return made


def long_text(count: int) -> str:
    return " ".join(f"Item {number} of the list costs {number * 7} euros." for number in range(count))


def one(embedder: MiniEmbedder, document) -> np.ndarray:
    (rows,) = embedder.encode_document([document])
    return rows


def same(rows: np.ndarray, others: np.ndarray) -> None:
    """Equal bits: the law of `mmrag.onnx_bert`, for two runs on one thread of one process."""
    np.testing.assert_array_equal(rows, others)


def alike(rows: np.ndarray, others: np.ndarray) -> None:
    """The same up to rounding, for other threads or sessions.

    A last bit of float32 that differs tips steps of int8 in every layer: noise of 2e-7 on the input leaves a
    cosine of 0.992 (measured).
    """
    assert rows.shape == others.shape
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    assert ((rows * others).sum(1) / lengths).min() > 0.98


# --- rows


def test_it_is_an_embedder_of_text_and_pictures(both, pixels, text_only):
    assert isinstance(both, Embedder)
    assert both.dim == 128
    assert both.budget == FULL == Budget(query=16, document=64)
    assert both.image_pixels == 1024 * 1024
    assert both.modalities == {"text", "image"}
    assert pixels.modalities == {"image"}
    assert text_only.modalities == {"text"}


@pytest.mark.parametrize("text", ["cat", TEXT, long_text(60)])
def test_a_smaller_budget_gives_the_first_rows(both, text):
    small = sharing(both, budget=SMALL)
    whole, few = one(both, text), one(small, text)
    same(few, whole[:8])
    (whole,), (few,) = both.encode_query([text]), small.encode_query([text])
    same(few, whole[:4])
    assert len(few) <= 4


def test_a_smaller_budget_gives_the_first_rows_of_a_picture(pixels, picture):
    same(
        one(sharing(pixels, inputs="pixels", budget=SMALL), Content(image=picture)),
        one(pixels, Content(image=picture))[:8],
    )


def test_a_row_is_the_same_alone_in_company_and_in_threads(both, picture):
    documents = ["cat", page(TEXT, image=picture), "", long_text(40), Content(image=picture)]
    alone = [one(both, document) for document in documents]
    for embedder, order, law in ((both, 1, same), (both, -1, same), (sharing(both, threads=3), 1, alike)):
        together = embedder.encode_document(documents[::order], batch_size=2)[::order]
        for rows, others in zip(alone, together, strict=True):
            law(rows, others)
    questions = ["cat", TEXT, Query(text="what is this", image=picture)]
    lone = [both.encode_query([question])[0] for question in questions]
    for rows, others in zip(lone, sharing(both, threads=3).encode_query(questions), strict=True):
        alike(rows, others)


def test_rows_are_float32_of_the_dimension_and_finite(both, picture):
    for rows in both.encode_document(["", "cat", page(), page(TEXT, image=picture), long_text(60)]):
        assert rows.dtype == np.float32
        assert rows.shape[1:] == (128,)
        assert 1 <= len(rows) <= 64
        assert np.isfinite(rows).all()


@pytest.mark.parametrize("inputs", ["both", "text", "pixels"])
def test_a_page_with_nothing_on_it_has_one_row(both, inputs):
    blank = Image.new("RGB", (300, 400), "white")
    embedder = both.with_inputs(inputs)
    rows = one(embedder, page())
    assert rows.shape == (1, 128)
    assert np.linalg.norm(rows[0]) == pytest.approx(1, abs=1e-5)
    same(one(embedder, page(image=blank)), rows)


def test_no_documents_and_no_queries_are_no_rows(both):
    assert both.encode_document([]) == []
    assert both.encode_query([]) == []


@pytest.mark.parametrize("words", [20, 400])
def test_a_query_is_whole_at_length_one_and_each_level_of_parts_shares_a_quarter(both, words):
    (rows,) = both.encode_query([" ".join(["sales"] * words)])
    lengths = np.linalg.norm(rows, axis=1)
    assert lengths[0] == pytest.approx(1, abs=1e-5)
    expected = [PART_WEIGHT / parts for parts in LEVELS[1:4] for _ in range(parts)]
    if words == 20:  # in one window; over several, parts are means and shorter still
        np.testing.assert_allclose(lengths[1:], expected, rtol=1e-4)
    else:
        assert (lengths[1:] <= np.array(expected) * 1.0001).all()


def test_an_instruction_takes_the_place_of_the_usual_one(both):
    usual, none, other = both.encode_query(
        [
            "net sales",
            Query(text="net sales", instruction=""),
            Query(text="net sales", instruction="Find tables."),
        ]
    )
    assert not np.array_equal(usual, none)
    assert not np.array_equal(usual, other)


def test_the_last_word_of_a_long_text_moves_a_row(both):
    text = " ".join(["sales"] * 4_999)
    differ = (one(both, text + " sales") != one(both, text + " lighthouse")).any(1)
    assert differ[0]  # the whole
    assert 2 <= differ.sum() < len(differ)  # and the parts that it stands in or beside, and no other


# --- text


def test_text_is_the_same_as_a_string_a_content_and_a_page(both):
    rows = one(both, TEXT)
    same(one(both, Content(text=TEXT)), rows)
    same(one(both, page(TEXT)), rows)


def test_without_a_picture_both_is_text(both, text_only):
    for document in (TEXT, page(TEXT), page()):
        same(one(both, document), one(text_only, document))


def test_text_alone_never_looks_at_the_picture(text_only, picture):
    same(one(text_only, page(TEXT, image=picture)), one(text_only, page(TEXT)))


# --- pixels


def test_pixels_never_look_at_the_text(pixels, picture):
    rows = one(pixels, page(image=picture))
    words = tuple(Word(word, (0.1, 0.1, 0.9, 0.9)) for word in TEXT.split())
    for document in (page("other words", image=picture), page(TEXT, image=picture, words=words)):
        same(one(pixels, document), rows)
    same(one(pixels, Content(text="other", image=picture)), one(pixels, Content(image=picture)))


def test_another_picture_has_other_rows(pixels, picture):
    other = one(pixels, page(image=drawn(LINES[::-1])))
    rows = one(pixels, page(image=picture))
    assert rows.shape != other.shape or not np.array_equal(rows, other)


def test_where_the_text_stands_on_every_word_read_the_picture_adds_nothing(both, text_only, picture):
    _, reader = both._load()
    found = reader.read(picture)
    assert found, "a reader that reads nothing shows nothing here"
    width, height = picture.size
    words = tuple(
        Word(word.text, (box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        for word in found
        for box in [word.box]
    )
    same(one(both, page(TEXT, image=picture, words=words)), one(text_only, page(TEXT)))
    without = one(both, page(TEXT, image=picture))
    assert not np.array_equal(without, one(text_only, page(TEXT))[: len(without)])


def test_words_without_places_are_known_by_themselves(both, text_only, picture):
    _, reader = both._load()
    text = " ".join(word.text for word in reader.read(picture))
    spoken = " ".join({word.strip("\"'.,;:!?()[]{}-") for word in text.split()})
    seen = one(both, Content(text=spoken, image=picture))
    assert len(seen) <= len(one(both, Content(text="unlike", image=picture))) + len(one(text_only, spoken))


def test_known_words_by_hand():
    words = [
        ReadWord("ash", (0, 0, 10, 10), 1),
        ReadWord("birch", (50, 50, 60, 60), 1),
        ReadWord("cedar", (50, 0, 60, 10), 1),
    ]
    known = TextWords(np.array([[0.5, 0.5, 0.6, 0.6]], np.float32), frozenset({"cedar"}))
    assert [word.text for word in known.new_words(words, (100, 100))] == ["ash"]
    assert [word.text for word in known.new_words(words, (200, 200))] == ["ash", "birch"]
    assert known.new_words([], (100, 100)) == []


def test_words_like_known_ones_are_known_and_numbers_are_not_guessed():
    """Bug guarded: "harbor," and "hafbor" stood beside "harbor", so a page with its text was half noise."""
    read = ["harbor,", "hafbor", "tt", "anchor", "24", "1999", "x7", "2024."]
    words = [ReadWord(text, (0, 0, 10, 10), 1) for text in read]
    known = TextWords(np.zeros((0, 4), np.float32), frozenset({"harbor", "1998", "2024"}))
    assert [word.text for word in known.new_words(words, (100, 100))] == ["anchor", "24", "1999", "x7"]


def test_known_words_are_those_of_a_loop():
    rng = np.random.default_rng(0)

    def boxes(count: int, size: float) -> np.ndarray:
        start = rng.uniform(0, 0.9, (count, 2))
        return np.concatenate([start, start + rng.uniform(0.01, 0.1, (count, 2))], 1) * size

    known = TextWords(boxes(60, 1.0).astype(np.float32))
    words = [ReadWord(str(number), tuple(box), 1.0) for number, box in enumerate(boxes(200, 500.0).tolist())]
    expected = []
    for word in words:
        x, y = (word.box[0] + word.box[2]) / 1000, (word.box[1] + word.box[3]) / 1000
        if not any(
            left <= x <= right and top <= y <= bottom for left, top, right, bottom in known.boxes.tolist()
        ):
            expected.append(word)
    assert known.new_words(words, (500, 500)) == expected
    assert 0 < len(expected) < len(words)


def test_compression_changes_pictures_and_not_text(both, picture):
    fine = sharing(both, compression=1)
    same(one(fine, TEXT), one(both, TEXT))
    rows, others = one(fine, Content(image=picture)), one(both, Content(image=picture))
    assert rows.shape != others.shape or not np.array_equal(rows, others)


def test_several_pictures_are_read_one_after_the_other(both, picture):
    several = Content(parts=(picture, "and", drawn(LINES[:2])))
    assert np.isfinite(one(both, several)).all()
    assert not np.array_equal(one(both, several)[0], one(both, Content(text="and", image=picture))[0])


# --- settings


def test_a_pickled_embedder_is_the_same(both):
    settings = MiniEmbedder(inputs="pixels", budget=SMALL, compression=1)
    again = pickle.loads(pickle.dumps(settings))
    assert (again.inputs, again.budget, again.compression) == ("pixels", SMALL, 1)
    assert again.fingerprint == settings.fingerprint
    alike(one(pickle.loads(pickle.dumps(both)), TEXT), one(both, TEXT))


def test_the_fingerprint_is_of_all_that_changes_rows_of_documents_and_of_nothing_else():
    base = MiniEmbedder().fingerprint
    assert len(base) == 32
    int(base, 16)
    others = [
        MiniEmbedder(inputs="text"),
        MiniEmbedder(inputs="pixels"),
        MiniEmbedder(compression=1),
        MiniEmbedder(budget=Budget(query=16, document=63)),
    ]
    assert len({base, *(other.fingerprint for other in others)}) == 5
    assert MiniEmbedder(budget=Budget(query=1, document=64), threads=2).fingerprint == base


def test_the_fingerprint_is_of_the_files(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(MODEL_DIR, copy)
    assert MiniEmbedder(copy).fingerprint == MiniEmbedder().fingerprint
    with (copy / "tokenizer.json").open("a") as file:
        file.write("\n")
    assert MiniEmbedder(copy).fingerprint != MiniEmbedder().fingerprint


def test_the_name_says_what_is_looked_at(both, pixels):
    assert both.name == "mmrag-mini"
    assert pixels.name == "mmrag-mini (pixels)"


# --- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "image"}, "inputs must be one of both, text, pixels, got 'image'"),
        ({"compression": 3}, "compression of mmrag-mini must be 1 or 2 .per axis., got 3"),
        ({"compression": True}, "compression of mmrag-mini must be 1 or 2"),
        (
            {"budget": Budget(query=17, document=64)},
            "budget.query must be a whole number from 1 to 16, got 17",
        ),
        (
            {"budget": Budget(query=16, document=65)},
            "budget.document must be a whole number from 1 to 64, got 65",
        ),
        ({"threads": 0}, "threads must be a whole number from 1 to 1024, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MiniEmbedder(**options)


def test_a_folder_without_the_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mmrag-mini needs model\.safetensors in its folder, got"):
        MiniEmbedder(tmp_path)


@pytest.mark.parametrize("method", ["encode_query", "encode_document"])
@pytest.mark.parametrize("wrong", ["net sales", 3])
def test_a_batch_is_a_list(both, method, wrong):
    with pytest.raises(TypeError, match=r"must be a list, got (str|int)"):
        getattr(both, method)(wrong)


def test_inputs_of_other_types_are_refused(both):
    with pytest.raises(TypeError, match="a query must be str or Query, got int at 1"):
        both.encode_query(["a", 3])
    with pytest.raises(TypeError, match="a document must be str, Page or Content, got int at 1"):
        both.encode_document(["a", 3])
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, got 0"):
        both.encode_document(["a"], batch_size=0)


def test_an_empty_query_is_refused(both):
    with pytest.raises(ValueError, match="a query must have text or an image, got"):
        both.encode_query([" "])


def test_an_instruction_that_leaves_no_room_is_refused_and_the_longest_is_not(both):
    fits = Query(text="net sales " * 200, instruction="a " * INSTRUCTION_ROOM)
    assert np.isfinite(both.encode_query([fits])[0]).all()
    with pytest.raises(
        ValueError, match=f"must have at most {INSTRUCTION_ROOM} tokens, got {INSTRUCTION_ROOM + 1} in"
    ):
        both.encode_query(["a", Query(text="a", instruction="a " * (INSTRUCTION_ROOM + 1))])


def test_what_cannot_be_looked_at_is_refused(text_only, pixels, picture):
    with pytest.raises(
        UnsupportedInputError, match="reads text only, got an image without text as document 1"
    ):
        text_only.encode_document(["a", Content(image=picture)])
    with pytest.raises(
        UnsupportedInputError, match="reads images only, got text without an image as document 0"
    ):
        pixels.encode_document(["a"])


def test_threads_embed_questions_at_the_same_time(both, monkeypatch):
    """Each waits in the model until all are there: a lock held meanwhile would end the test."""
    barrier, rows = threading.Barrier(4), MiniEncoder.rows
    monkeypatch.setattr(MiniEncoder, "rows", lambda *values: (barrier.wait(30), rows(*values))[1])
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda line: both.encode_query([line])[0], LINES))
    monkeypatch.undo()
    for matrix, line in zip(found, LINES, strict=True):
        np.testing.assert_allclose(matrix, both.encode_query([line])[0], atol=1e-5)
