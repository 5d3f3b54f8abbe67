"""``mmrag evaluate --table``: a pack searched at many settings, one index for each way of reading pages."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

from mmrag.cli.common import Progress, UsageError, reader_settings, report_text, reranker, scratch_folder
from mmrag.embedders.base import Embedder, QueryInput
from mmrag.errors import UnsupportedInputError
from mmrag.evaluation import Pack, PageKey, load_pack
from mmrag.evaluation.report import DEEPEST
from table_report import (
    BUDGETS,
    INPUTS,
    WORDS_ALONE,
    Rankings,
    SearchAll,
    Setting,
    clipped,
    collect,
    table,
)
from mmrag.index.base import Index
from mmrag.index.chroma import ChromaIndex
from mmrag.index.directory import STORE_NAME
from mmrag.index.filters import Filter
from mmrag.ingest.reembed import embedder_of
from mmrag.models.load import load_embedder
from mmrag.pipeline import DocumentQA
from mmrag.rerank.local import LocalReranker
from remembering import RememberingReranker
from mmrag.rerank.stage import rerank_first
from mmrag.retriever import CHANNELS, Retriever
from mmrag.samples import sample_pack
from mmrag.types import Budget, Hit, Matrix, Ranking, Record

EmbedderFor: TypeAlias = Callable[[str], Embedder]
"""The embedder that reads pages as this input, one of `INPUTS`."""

LOCAL = "local"


def run_table(options: argparse.Namespace) -> int:
    """Measure ``options.pack`` at every setting; returns the exit code.

    With ``--index DIR`` the index of an input is kept in ``DIR/<input>``, or is DIR itself where that is
    one of this embedder already; without, it is made in a folder that goes afterwards.
    """
    judge = _judge(options)
    pack = load_pack(options.pack or sample_pack())
    embedder = _embedder(options)
    inputs, embedder_for = ways_of_reading(embedder)
    asked = tuple(options.table_inputs or inputs)
    unknown = [name for name in asked if name not in inputs]
    if unknown:
        raise UnsupportedInputError(
            f"--inputs must be of {', '.join(inputs)} for {embedder.name!r}, got {unknown[0]!r}. "
            "Leave it out, or name another --embedder."
        )
    rankings: dict[Setting, Rankings] = {}
    with contextlib.ExitStack() as stack:
        folder = options.index or Path(stack.enter_context(scratch_folder()))
        for name, path in index_folders(folder, asked, inputs, embedder_for):
            found = _measure_input(options, pack, name, embedder_for(name), path, judge)
            rankings |= {setting: ranked for setting, ranked in found.items() if setting not in rankings}
    made = table(pack, rankings, notes=list(_notes(judge, options, embedder)))
    data = made.to_dict() | {"embedder": embedder.name, "fingerprint": embedder.fingerprint}
    if options.target:
        options.target.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write((json.dumps(data) if options.json else made.text()) + "\n")
    return 0


def _embedder(options: argparse.Namespace) -> Embedder:
    """The one that is named; else, where ``--index`` is an index, the one that it opens with."""
    named = options.embedder is not None or options.embedder_url is not None
    if not named and options.index and (options.index / STORE_NAME).is_file():
        return embedder_of(options.index)
    return load_embedder(options.embedder, base_url=options.embedder_url)


def _judge(options: argparse.Namespace) -> RememberingReranker | None:
    """What judges the first pages, after all that does not go with a table was refused."""
    for name, given in {
        "--budget (--budgets has a table's)": options.budget is not None,
        "--channels": options.channels != "both",
        "--answers": options.answers,
        "--answerer-url": bool(options.answerer_url),
        "--plot": options.plot is not None,
        "--reranker-url": bool(options.reranker_url),
    }.items():
        if given:
            raise UsageError(f"--table goes without {name}.")
    chosen = reranker(options, Path())
    if chosen is None:
        return None
    assert isinstance(chosen, LocalReranker)  # every other needs --reranker-url
    return RememberingReranker(chosen)


def _notes(
    judge: RememberingReranker | None, options: argparse.Namespace, embedder: Embedder
) -> Iterator[str]:
    yield f"embedder: {embedder.name}"
    if judge is None:
        yield "left out: reranking (--rerank local adds it)"
    else:
        yield (
            f"{LOCAL} rerank: the first {options.rerank_top}, alpha {judge.alpha:g}; "
            f"{judge.read:,} pages read with a question, {judge.remembered:,} times remembered"
        )


# ---- inputs ------------------------------------------------------------------------------------------


def ways_of_reading(embedder: Embedder) -> tuple[tuple[str, ...], EmbedderFor]:
    """The inputs that an embedder can be given, and the embedder for each.

    One with an attribute ``inputs`` (one of `INPUTS`) and a method ``with_inputs(inputs)`` reads pages in
    each of these ways; any other in its own way only.
    """
    own = own_input(embedder)
    if not hasattr(embedder, "with_inputs"):
        return (own,), lambda _: embedder

    def embedder_for(name: str) -> Embedder:
        return embedder if name == own else cast("Embedder", cast("Any", embedder).with_inputs(name))

    return INPUTS, embedder_for


def own_input(embedder: Embedder) -> str:
    """How it reads a page, by its ``inputs`` or else its modalities."""
    if hasattr(embedder, "inputs"):
        return str(embedder.inputs)
    if "image" not in embedder.modalities:
        return "text"
    return "both" if "text" in embedder.modalities else "pixels"


def index_folders(
    folder: Path, asked: Sequence[str], inputs: Sequence[str], embedder_for: EmbedderFor
) -> list[tuple[str, Path]]:
    """Where the index of each input stands.

    Raises:
        IndexMismatchError: `folder` is an index, and none of this embedder.
    """
    if not (folder / STORE_NAME).is_file():
        return [(name, folder / name) for name in asked]
    with contextlib.closing(ChromaIndex.open(folder, None, read_only=True)) as index:
        made_by = index.manifest.fingerprint
    here = [name for name in inputs if embedder_for(name).fingerprint == made_by]
    if not here:
        ChromaIndex.open(folder, embedder_for(asked[0]), read_only=True).close()  # raises, and says why
    return [(name, folder if name in here else folder / name) for name in asked]


# ---- searching ---------------------------------------------------------------------------------------


def _measure_input(
    options: argparse.Namespace,
    pack: Pack,
    name: str,
    embedder: Embedder,
    path: Path,
    judge: RememberingReranker | None,
) -> dict[Setting, Rankings]:
    """Index the pack's documents as this input and collect rankings at all its settings."""
    with DocumentQA.open(
        path, embedder=embedder, reader=reader_settings(options), password=options.password, reranker=None
    ) as qa:
        with Progress() as progress:
            added = qa.add(pack.documents_path, progress=progress)
        sys.stderr.write(f"{name}: {report_text(added)}\n")
        search = search_all(
            qa,
            name,
            options.budgets or BUDGETS,
            exact=options.exact,
            judge=judge,
            depth=options.rerank_top,
        )
        return collect(pack, search, show_progress=sys.stderr.isatty())


def search_all(
    qa: DocumentQA,
    name: str,
    budgets: Sequence[Budget],
    *,
    exact: bool = False,
    judge: RememberingReranker | None = None,
    depth: int = DEEPEST,
) -> SearchAll:
    """A search of one index at all budgets, with and without words, with and without reranking.

    Args:
        qa: where pages are.
        name: the input that the pages were indexed as.
        budgets: are clipped to the embedder's; the embedder's own alone where its rows are not nested.
        exact: score every page.
        judge: reranks each ranking. None: nothing does.
        depth: pages that it judges.

    Words alone are a setting of every index, and the same in each: the input changes what is embedded, not
    the text that is searched.
    """
    most = qa.embedder.budget
    own = clipped(budgets if getattr(qa.embedder, "nested", True) else (most,), most)
    settings = [WORDS_ALONE, *(Setting(name, one, words) for one in own for words in (False, True))]
    index = _OneSearchIndex(qa.index)
    retriever = Retriever(cast("Index", index), cast("Embedder", _OneQuestion(qa.embedder)))

    def search(question: str, within: tuple[str, ...] | None) -> dict[Setting, list[PageKey]]:
        index.forget()
        found: dict[Setting, list[PageKey]] = {}
        for setting in settings:

            def first(k: int, at: Setting = setting) -> Ranking:
                return retriever.search(
                    question,
                    k=k,
                    budget=at.budget,
                    filter=None if within is None else {"file_name": {"$in": list(within)}},
                    exact=exact,
                    channels=_channels(at),
                )

            plain = first(DEEPEST)
            found[setting] = _keys(plain)
            if judge is not None:
                pool = plain if depth <= DEEPEST else first(depth)
                reranked = rerank_first(judge, pool, top_n=DEEPEST, depth=depth)
                found[_reranked(setting)] = _keys(reranked)
        return found

    return search


def _reranked(setting: Setting) -> Setting:
    return Setting(setting.input, setting.budget, setting.words, LOCAL)


def _channels(setting: Setting) -> tuple[str, ...]:
    vectors, text = CHANNELS
    if setting.budget is None:
        return (text,)
    return CHANNELS if setting.words else (vectors,)


def _keys(ranking: Ranking) -> list[PageKey]:
    return [(c.page.source.name, c.page.number) for c in ranking if c.page is not None]


class _OneQuestion:
    """An embedder that keeps the last question's matrix: it is searched at every setting in turn."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._last: tuple[list[QueryInput], list[Matrix]] | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the embedder has
        return getattr(self._embedder, name)

    def encode_query(self, queries: Sequence[QueryInput]) -> list[Matrix]:
        """See `mmrag.embedders.base.Embedder.encode_query`."""
        if self._last is None or self._last[0] != list(queries):
            self._last = list(queries), self._embedder.encode_query(queries)
        return self._last[1]


class _OneSearchIndex:
    """An index that keeps what the text channel found and the records it read, until it is to forget.

    Settings ask for nearly the same pages in turn, and reading a page's words is half of a search.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self.forget()

    def forget(self) -> None:
        """Another search begins."""
        self._records: dict[str, Record] = {}
        self._matches: dict[tuple[str, int], list[Hit]] = {}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the index has
        return getattr(self._index, name)

    def get(self, ids: Sequence[str]) -> list[Record]:
        """See `mmrag.index.base.Index.get`."""
        missing = [key for key in ids if key not in self._records]
        self._records |= {record.id: record for record in self._index.get(missing)}
        return [self._records[key] for key in ids if key in self._records]

    def search_text(self, query: str, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """See `mmrag.index.base.Index.search_text`; one search has one filter."""
        if (query, k) not in self._matches:
            self._matches[query, k] = list(self._index.search_text(query, k=k, filter=filter))
        return self._matches[query, k]
