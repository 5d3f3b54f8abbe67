"""Laws of what is kept in memory: it has a bound, whatever is asked and however often."""

from __future__ import annotations

import ast
import hashlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import mmrag
from mmrag.documents import remote_cache
from mmrag.documents.conversion.base import Conversion
from mmrag.documents.conversions import _MOST_KEPT, Conversions
from mmrag.documents.inputs import InputDocument
from mmrag.documents.ocr import text_choice
from mmrag.documents.pool import WorkerPool
from mmrag.documents.settings import ReaderSettings
from mmrag.index import text_search
from mmrag.index.directory import STORE_NAME
from mmrag.index.row_search import MOST_QUERIES, KeptScores
from mmrag.index.store import RecordStore
from mmrag.onnx_sessions import open_session
from mmrag.rerank import reranker as reranking
from mmrag.types import Source

ROOT = Path(mmrag.__file__).parent

FEW_ARGUMENTS = {
    "ingest/page_language.py:_marks": "the scripts that pages are told by",
    "index/languages.py:_stemmer": "the languages that have function words",
    "serving/prompts.py:_package_text": "the prompts of the package; another name raises, which is not kept",
    "serving/prompts.py:_names": "the packages that have prompts",
}
"""Functions whose results are kept for every argument, and the few arguments that they can have."""


def unbounded_caches() -> set[str]:
    """Functions with arguments whose results are all kept."""
    found: set[str] = set()
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or not ast.unparse(node.args):
                continue
            for decorator in node.decorator_list:
                words = ast.unparse(decorator).removeprefix("functools.")
                if words in ("cache", "lru_cache(None)", "lru_cache(maxsize=None)"):
                    found.add(f"{path.relative_to(ROOT).as_posix()}:{node.name}")
    return found


def test_what_is_kept_for_every_argument_can_have_few() -> None:
    assert unbounded_caches() == set(FEW_ARGUMENTS)


def test_final_scores_are_kept_of_the_last_queries() -> None:
    kept = KeptScores()
    for number in range(3 * MOST_QUERIES):
        kept.of(number % 2, np.full((1, 2), number, np.float32), None)[1] = 0.5
        assert len(kept._scores) <= MOST_QUERIES


def test_words_are_kept_of_the_last_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_search, "MOST_TERMS", 10)
    with mmrag.DocumentQA.open(tmp_path / "index") as qa:
        qa.add_texts(["The harbour of Skye has nine ferries.", "The board met in March."])
    with closing(RecordStore(tmp_path / "index" / STORE_NAME, create=None, read_only=True)) as store:
        words = text_search.TextSearch(store, text_search.ResidentNames(store))
        for number in range(20):
            with store.database.read() as connection:
                question = f"harbour board w{number} x{number} y{number}"
                words.search(connection, question, 3, None)
                current = words._current(connection)
                words._holders(connection, current, question.split())
                words._counts(connection, current, question.split())
            assert len(words._words.matches) <= text_search.MOST_QUESTIONS
            assert len(words._words.counts) <= len(words._words.holders) <= 10 + len(question.split())


def test_a_session_keeps_no_plan_for_each_length_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    opened = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda path, options, **_: opened.append(options))
    open_session(Path("model.onnx"))
    assert [options.enable_mem_pattern for options in opened] == [False]


def source(number: int, kind: str = "pdf") -> Source:
    return Source(f"{number:064x}", kind, f"{number}.{kind}")


def test_conversions_are_kept_of_the_last_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    conversions = Conversions(ReaderSettings(), WorkerPool(ReaderSettings()))
    monkeypatch.setattr(conversions, "_convert", lambda document: Conversion(b"%PDF-"))
    for number in range(3 * _MOST_KEPT):
        conversions.of(InputDocument(source(number, "docx"), b"bytes"))
        assert len(conversions._conversions) <= _MOST_KEPT


def test_remote_documents_are_kept_of_the_last_two(monkeypatch: pytest.MonkeyPatch) -> None:
    remote = remote_cache.RemoteDocuments()
    monkeypatch.setattr(remote_cache, "read_file", lambda url: url.encode())
    for number in range(6):
        url = f"s3://bucket/{number}"
        digest = hashlib.sha256(url.encode()).hexdigest()
        remote.fetch(InputDocument(Source(digest, "pdf", url), url=url))
        assert len(remote._documents) <= remote_cache.MOST_KEPT


def test_documents_whose_layers_were_compared_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_choice, "_CACHE_SIZE", 3)
    chooser = text_choice.TextChooser("auto")
    for number in range(9):
        chooser._remember(str(number), 0.5, agrees=True)
        assert len(chooser._documents) <= 3


def test_modes_are_kept_of_the_last_numbers_of_tokens() -> None:
    reranker = reranking.ThinkReranker("http://localhost:1", model="m", images=False)
    for tokens in range(1, 5 * reranking.MOST_MODES):
        mode = reranker._mode(tokens)
        assert reranker._mode(tokens) is mode
        assert len(reranker._modes) <= reranking.MOST_MODES
