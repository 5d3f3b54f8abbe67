"""Laws of what is kept between two searches: it says what the file says, and a search asks little of it."""

import hashlib
from contextlib import closing

import numpy as np
import pytest

from mmrag.embedders.base import EmbedderBase
from mmrag.index import resident_names
from mmrag.index.chroma import ChromaIndex
from mmrag.index.database import Database
from mmrag.index.memory import MemoryIndex
from mmrag.retriever import Retriever
from mmrag.types import Budget, Record

from .conftest import make_page

WORDS = [
    "norland",
    "skye",
    "quarter",
    "revenue",
    "margin",
    "board",
    "chair",
    "report",
    "latest",
    "harbour",
    "ferry",
]

MOST_STATEMENTS = 45
"""Of a fused search that names documents, however many words the question has."""


class HashEmbedder(EmbedderBase):
    """A text's rows are drawn under a seed that is its words."""

    name, dim = "hash", 8
    fingerprint = "0123456789abcdef" * 4
    modalities = frozenset({"text"})
    budget = Budget(2, 4)

    def encode_document(self, documents, *, batch_size=32, show_progress=False):
        raise AssertionError("a search encodes no documents")

    def encode_query(self, queries, *, batch_size=32, show_progress=False):
        return [rows_of(query.text, 2) for query in queries]


def rows_of(text, count):
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big"))
    rows = rng.standard_normal((count, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def pages(rng, document, count=3):
    """The pages of a document as records, with words drawn at random."""
    made = []
    for number in range(count):
        text = " ".join(rng.choice(WORDS, 12))
        page = make_page(number, sha256=hashlib.sha256(document.encode()).hexdigest(), text=text)
        metadata = {"doc_id": page.document_id, "file_name": f"{document}.pdf"}
        context = f"{document} {WORDS[len(document) % 5]}"
        made.append(Record(page.id, rows_of(text, 4), text, metadata, page, context=context))
    return made


def both(index, memory, call):
    call(index)
    call(memory)


def question(rng):
    return " ".join(rng.choice(WORDS, int(rng.integers(1, 8))))


@pytest.fixture(params=[20_000, 0], ids=["held", "asked"])
def most_records(request, monkeypatch):
    """Hold the names of records in memory, or ask the file each time."""
    monkeypatch.setattr(resident_names, "MOST_RECORDS", request.param)


@pytest.mark.usefixtures("most_records")
def test_a_search_never_says_what_the_file_no_longer_says(tmp_path):
    embedder = HashEmbedder()
    rng = np.random.default_rng(0)
    memory = MemoryIndex.for_embedder(embedder)
    with closing(ChromaIndex.open(tmp_path / "index", embedder)) as index:
        reader = ChromaIndex.open(tmp_path / "index", embedder, read_only=True)
        for turn in range(6):
            document = f"document {turn}"
            records = pages(rng, document)
            both(index, memory, lambda home, records=records: home.add(records))
            if turn > 2:  # replace the words of one page, take another away
                replaced = pages(rng, f"document {turn - 1}", 1)
                gone = f"{pages(rng, f'document {turn - 2}')[1].id}"
                both(index, memory, lambda home, replaced=replaced: home.add(replaced))
                both(index, memory, lambda home, gone=gone: home.delete([gone]))
            for _ in range(4):
                text = question(rng)
                expected = Retriever(memory, embedder, depth=5).search(text, k=4)
                for home in (index, reader):
                    found = Retriever(home, embedder, depth=5).search(text, k=4)
                    assert [hit.id for hit in found] == [hit.id for hit in expected]
                    assert [hit.scores for hit in found] == [pytest.approx(hit.scores) for hit in expected]
                ids = memory.ids()
                assert index.document_ids([*ids, "none"]) == memory.document_ids(ids)
                assert index.name_documents(text) == memory.name_documents(text)
        reader.close()


def test_a_filter_after_the_same_words_finds_what_it_finds_alone(tmp_path):
    embedder = HashEmbedder()
    rng = np.random.default_rng(1)
    records = [record for number in range(6) for record in pages(rng, f"document {number}")]
    with closing(ChromaIndex.open(tmp_path / "index", embedder)) as index:
        index.add(records)
        filter = {"doc_id": records[4].metadata["doc_id"]}
        alone = index.search_text("norland margin", k=2, filter=filter)
        index.search_text("norland margin", k=1)
        assert index.search_text("norland margin", k=2, filter=filter) == alone
        assert alone


def test_a_search_asks_the_file_a_few_times_however_long_the_question(tmp_path, monkeypatch):
    statements = []
    take = Database._take

    def taken(database):
        connection = take(database)
        connection.set_trace_callback(statements.append)
        return connection

    embedder = HashEmbedder()
    rng = np.random.default_rng(2)
    with closing(ChromaIndex.open(tmp_path / "index", embedder)) as index:
        index.add([record for number in range(8) for record in pages(rng, f"document {number}")])
        retriever = Retriever(index, embedder, depth=5)
        retriever.search("ferry")
        monkeypatch.setattr(Database, "_take", taken)
        counts = []
        for text in ("document 3", "norland skye quarter", " ".join(WORDS) + " document 5 and document 6"):
            statements.clear()
            retriever.search(text, k=3)
            counts.append(sum(not statement.startswith("--") for statement in statements))  # FTS5's own
        assert max(counts) <= MOST_STATEMENTS, counts
