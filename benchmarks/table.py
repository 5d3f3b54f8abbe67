"""Nested retrieval measured at many settings: a pack searched as a table of inputs, budgets and channels.

    python benchmarks/table.py PACK --index DIR --to table.json
    python benchmarks/table.py PACK --index DIR --rerank local
    python benchmarks/table.py PACK --embedder MODEL --inputs text,both --budgets 1,1 16,64

One row for each input (page text, page picture, or both), budget, and with and without BM25; ``--rerank
local`` adds columns. A figure here is the figure of ``mmrag evaluate`` at that setting. The index of an
input is kept in ``DIR/<input>``, or is DIR itself if DIR is an index of the embedder; without ``--index``
it is made in a temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from table_report import (
    BUDGETS,
    INPUTS,
    WORDS_ALONE,
    Rankings,
    SearchAll,
    Setting,
    Table,
    clipped,
    collect,
    table,
)

from mmrag.documents import ReaderSettings
from mmrag.embedders.base import Embedder, QueryInput
from mmrag.errors import UnsupportedInputError
from mmrag.evaluation import Pack, PageKey, load_pack
from mmrag.evaluation.report import DEEPEST
from mmrag.index.base import Index
from mmrag.index.chroma import ChromaIndex
from mmrag.index.directory import STORE_NAME
from mmrag.index.filters import Filter
from mmrag.index.identity import DocumentNames
from mmrag.models.load import load_embedder
from mmrag.pipeline import DocumentQA
from mmrag.rerank.local import LocalReranker, all_verdicts
from mmrag.rerank.protocol import Verdicts
from mmrag.rerank.stage import RerankStep
from mmrag.retriever import Retriever
from mmrag.samples import sample_pack
from mmrag.search_request import CHANNELS
from mmrag.types import Budget, Candidate, Hit, Matrix, Query, Ranking, Record

EmbedderFor: TypeAlias = Callable[[str], Embedder]
"""The embedder that reads pages as this input, one of `INPUTS`."""

LOCAL = "local"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a pack at every setting and print the table."""
    parser = options_parser()
    options = parser.parse_args(arguments)
    try:
        result, embedder = measure(options)
    except UnsupportedInputError as error:
        parser.error(str(error))
    data = result.to_dict() | {"embedder": embedder.name, "fingerprint": embedder.fingerprint}
    if options.target:
        options.target.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(data) if options.json else result.text())


def options_parser() -> argparse.ArgumentParser:
    """Return the parser of the options, those of ``mmrag evaluate`` where both have them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("pack", nargs="?", type=Path, metavar="PACK", help="folder of the pack (the sample pack)")
    add("--index", type=Path, metavar="DIR", help="keep the indexes here, or use them again")
    add("--embedder", metavar="MODEL", help="folder or name, as for mmrag index (the default embedder)")
    add("--embedder-url", metavar="URL", help="OpenAI-compatible server that embeds")
    add("--inputs", type=page_inputs, metavar="LIST", help="of text,pixels,both (all the embedder reads)")
    add("--budgets", nargs="+", type=budget, default=BUDGETS, metavar="Q,D", help="(1,1 2,4 4,8 8,16 16,64)")
    add("--exact", action="store_true", help="score every page, no first stage")
    add("--rerank", choices=("none", LOCAL), default="none", help="columns with reranking (%(default)s)")
    add("--rerank-top", type=int, default=10, metavar="N", help="pages that are reranked (%(default)s)")
    add("--alpha", type=float, default=0.5, metavar="A", help="weight of the search score (%(default)s)")
    add("--ocr", choices=("auto", "off", "force"), default="auto", help="(%(default)s)")
    add("--renderer", choices=("pymupdf", "pdfium"), default="pymupdf", help="(%(default)s)")
    add("--workers", type=int, metavar="N", help="reading processes")
    add("--password", action="append", metavar="TEXT", help="try this on encrypted files; may be repeated")
    add("--to", dest="target", type=Path, metavar="FILE", help="write the table as JSON")
    add("--json", action="store_true", help="print JSON instead of text")
    return parser


def budget(text: str) -> Budget:
    """Parse ``QUERY,DOCUMENT``."""
    try:
        query, document = map(int, text.split(","))
        return Budget(query, document)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"a budget must be like 16,64, got {text!r}.") from error


def page_inputs(text: str) -> tuple[str, ...]:
    """Parse ways of reading a page, ``text,pixels,both`` or some of them, each once."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in INPUTS:
            raise argparse.ArgumentTypeError(
                f"inputs must be of text, pixels and both with commas between, got {name!r}."
            )
    return names


def measure(options: argparse.Namespace) -> tuple[Table, Embedder]:
    """Search the pack at every setting.

    Raises:
        UnsupportedInputError: the embedder does not read pages as one of ``--inputs``.
    """
    reranker = None
    if options.rerank == LOCAL:
        reranker = RememberingReranker(LocalReranker(depth=options.rerank_top, alpha=options.alpha))
    pack = load_pack(options.pack or sample_pack())
    embedder = named_embedder(options)
    inputs, embedder_for = ways_of_reading(embedder)
    wanted = options.inputs or inputs
    if unreadable := [name for name in wanted if name not in inputs]:
        raise UnsupportedInputError(
            f"--inputs must be of {', '.join(inputs)} for {embedder.name!r}, got {unreadable[0]!r}. "
            "Leave it out, or name another --embedder."
        )
    rankings: dict[Setting, Rankings] = {}
    with contextlib.ExitStack() as stack:
        folder = options.index or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, path in index_folders(folder, wanted, inputs, embedder_for):
            new = measure_input(options, pack, name, embedder_for(name), path, reranker)
            rankings.update({setting: new[setting] for setting in new if setting not in rankings})
    notes = [f"embedder: {embedder.name}", rerank_note(reranker, options.rerank_top)]
    return table(pack, rankings, notes=notes), embedder


def named_embedder(options: argparse.Namespace) -> Embedder:
    """Load the embedder that is named, or the default."""
    return load_embedder(options.embedder, base_url=options.embedder_url)


def rerank_note(reranker: RememberingReranker | None, depth: int) -> str:
    """Return the line below the table that tells what reranking was."""
    if reranker is None:
        return "left out: reranking (--rerank local adds it)"
    return (
        f"{LOCAL} rerank: the first {depth}, alpha {reranker.alpha:g}; "
        f"{reranker.read:,} pages read with a question, {reranker.remembered:,} scores from memory"
    )


# ---- inputs ------------------------------------------------------------------------------------------


def ways_of_reading(embedder: Embedder) -> tuple[tuple[str, ...], EmbedderFor]:
    """Return the inputs that an embedder can read, and a function that gives the embedder for one of them.

    An embedder with an attribute ``inputs`` (one of `INPUTS`) and a method ``with_inputs(inputs)`` can read
    all of `INPUTS`; any other reads pages in one way.
    """
    default = default_input(embedder)
    if not hasattr(embedder, "with_inputs"):
        return (default,), lambda _: embedder

    def embedder_for(name: str) -> Embedder:
        return embedder if name == default else cast("Embedder", cast("Any", embedder).with_inputs(name))

    return INPUTS, embedder_for


def default_input(embedder: Embedder) -> str:
    """Return how an embedder reads a page: its ``inputs``, else by its modalities."""
    if hasattr(embedder, "inputs"):
        return str(embedder.inputs)
    if "image" not in embedder.modalities:
        return "text"
    return "both" if "text" in embedder.modalities else "pixels"


def index_folders(
    folder: Path, wanted: Sequence[str], inputs: Sequence[str], embedder_for: EmbedderFor
) -> list[tuple[str, Path]]:
    """Return ``(input, folder of its index)`` for each input of `wanted`.

    Raises:
        IndexMismatchError: `folder` is an index, and not one of this embedder.
    """
    if not (folder / STORE_NAME).is_file():
        return [(name, folder / name) for name in wanted]
    with contextlib.closing(ChromaIndex.open(folder, None, read_only=True)) as index:
        fingerprint = index.manifest.fingerprint
    matches = [name for name in inputs if embedder_for(name).fingerprint == fingerprint]
    if not matches:
        ChromaIndex.open(folder, embedder_for(wanted[0]), read_only=True).close()  # raises, and says why
    return [(name, folder if name in matches else folder / name) for name in wanted]


# ---- searching ---------------------------------------------------------------------------------------


def measure_input(
    options: argparse.Namespace,
    pack: Pack,
    name: str,
    embedder: Embedder,
    path: Path,
    reranker: RememberingReranker | None,
) -> dict[Setting, Rankings]:
    """Index the pack's documents as this input and collect rankings at all its settings."""
    reader = ReaderSettings(ocr=options.ocr, renderer=options.renderer)
    if options.workers:
        reader = replace(reader, workers=options.workers)
    with DocumentQA.open(
        path, embedder=embedder, reader=reader, password=options.password, reranker=None
    ) as qa:
        report = qa.add(pack.documents_path)
        sys.stderr.write(
            f"{name}: {len(report.added)} files added, {len(report.unchanged)} unchanged, "
            f"{len(report.skipped)} files or pages skipped\n"
        )
        search = search_all(
            qa, name, options.budgets, exact=options.exact, reranker=reranker, depth=options.rerank_top
        )
        return collect(pack, search, show_progress=sys.stderr.isatty())


def search_all(
    qa: DocumentQA,
    name: str,
    budgets: Sequence[Budget],
    *,
    exact: bool = False,
    reranker: RememberingReranker | None = None,
    depth: int = DEEPEST,
) -> SearchAll:
    """Return a search of one index at all budgets, with and without words, with and without reranking.

    Words alone are a setting of every index, and rank the same in each: the input changes what is embedded,
    not the text that is searched.

    Args:
        qa: the index with its embedder.
        name: the input that the pages were indexed as.
        budgets: clipped to the embedder's; the embedder's own budget alone if its rows are not nested.
        exact: score every page.
        reranker: reranks each ranking. None: no setting is reranked.
        depth: pages that it reranks.
    """
    most = qa.embedder.budget
    distinct = clipped(budgets if getattr(qa.embedder, "nested", True) else (most,), most)
    settings = [WORDS_ALONE, *(Setting(name, size, words) for size in distinct for words in (False, True))]
    index = _CachingIndex(qa.index)
    retriever = Retriever(cast("Index", index), cast("Embedder", _CachingEmbedder(qa.embedder)))

    def rank(question: str, within: tuple[str, ...] | None, setting: Setting, k: int) -> Ranking:
        return retriever.search(
            question,
            k=k,
            budget=setting.budget,
            filter=None if within is None else {"file_name": {"$in": list(within)}},
            exact=exact,
            channels=_channels(setting),
        )

    def search(question: str, within: tuple[str, ...] | None) -> dict[Setting, list[PageKey]]:
        index.clear()
        keys: dict[Setting, list[PageKey]] = {}
        for setting in settings:
            plain = rank(question, within, setting, DEEPEST)
            keys[setting] = _keys(plain)
            if reranker is not None:
                pool = plain if depth <= DEEPEST else rank(question, within, setting, depth)
                reranked = RerankStep(reranker, depth).apply(pool, DEEPEST)
                keys[replace(setting, rerank=LOCAL)] = _keys(reranked)
        return keys

    return search


def _channels(setting: Setting) -> tuple[str, ...]:
    vectors, text = CHANNELS
    if setting.budget is None:
        return (text,)
    return CHANNELS if setting.words else (vectors,)


def _keys(ranking: Ranking) -> list[PageKey]:
    return [(c.page.source.name, c.page.number) for c in ranking if c.page is not None]


class _CachingEmbedder:
    """An embedder with a cache of the last question's matrix, which is searched at every setting in turn."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._last: tuple[list[QueryInput], list[Matrix]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def encode_query(self, queries: Sequence[QueryInput]) -> list[Matrix]:
        """See `mmrag.embedders.base.Embedder.encode_query`."""
        if self._last is None or self._last[0] != list(queries):
            self._last = list(queries), self._embedder.encode_query(queries)
        return self._last[1]


class _CachingIndex:
    """An index with a cache of text hits and records for one search at many settings.

    Settings need nearly the same pages in turn, and reading a page's words is half of a search.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self.clear()

    def clear(self) -> None:
        """Empty the cache, before another search."""
        self._records: dict[str, Record] = {}
        self._matches: dict[tuple[str, int, str, frozenset[str]], list[Hit]] = {}
        self._names: dict[str, DocumentNames] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def get(self, ids: Sequence[str]) -> list[Record]:
        """See `mmrag.index.base.Index.get`."""
        missing = [key for key in ids if key not in self._records]
        self._records |= {record.id: record for record in self._index.get(missing)}
        return [self._records[key] for key in ids if key in self._records]

    def search_text(
        self, query: str, *, k: int, filter: Filter | None = None, without: Collection[str] = ()
    ) -> list[Hit]:
        """See `mmrag.index.base.Index.search_text`."""
        key = query, k, repr(filter), frozenset(without)
        if key not in self._matches:
            self._matches[key] = self._index.search_text(query, k=k, filter=filter, without=without)
        return self._matches[key]

    def name_documents(self, text: str) -> DocumentNames:
        """See `mmrag.index.base.Index.name_documents`."""
        if text not in self._names:
            self._names[text] = self._index.name_documents(text)
        return self._names[text]


# ---- reranking ----------------------------------------------------------------------------------------


class RememberingReranker(LocalReranker):
    """A `LocalReranker` with a cache of the scores of all questions and page texts it has read.

    A score depends on these two alone, so rankings are the same as without the cache. Not safe to share
    between threads: a page might be read twice.

    Args:
        like: the settings.

    Attributes:
        read: pages that were read together with a question so far.
        remembered: scores that came from memory instead.
    """

    def __init__(self, like: LocalReranker) -> None:
        super().__init__(
            like.model_dir,
            alpha=like.alpha,
            depth=like.depth,
            window=like.window,
            stride=like.stride,
            windows=like.windows,
            threads=like.threads,
        )
        self.read = 0
        self.remembered = 0
        self._scores: dict[bytes, float | None] = {}  # None: a page without text

    def score(self, query: Query, candidates: Sequence[Candidate]) -> Verdicts:
        """See `LocalReranker.score`; the verdicts' own seconds are 0."""
        keys = [_key(query, candidate) for candidate in candidates]
        pairs = zip(keys, candidates, strict=True)
        missing = {key: candidate for key, candidate in pairs if key not in self._scores}
        verdicts = super().score(query, list(missing.values()))
        for key, verdict in zip(missing, verdicts, strict=True):
            self._scores[key] = verdict.score if verdict.read else None
        self.read += len(missing)
        self.remembered += len(keys) - len(missing)
        scores = {position: self._scores[key] for position, key in enumerate(keys)}
        best = {position: score for position, score in scores.items() if score is not None}
        return Verdicts(all_verdicts(best, [0.0] * len(keys)), verdicts.notes)


def _key(query: Query, candidate: Candidate) -> bytes:
    """Return the digest of a question and a page's text; the zero byte keeps the two apart."""
    words = (query.text or "").encode(errors="surrogatepass")
    text = candidate.record.text.encode(errors="surrogatepass")
    return hashlib.sha256(hashlib.sha256(words).digest() + text).digest()
