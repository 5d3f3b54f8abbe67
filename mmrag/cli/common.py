"""Options shared by commands, as one dataclass a group, and the objects made of them.

A field is an option: its annotation holds the flag and its help, its default is the option's. What the
objects need is imported when they are made, so that the help of a command needs nothing heavy.
"""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from typer import Option

from mmrag.cli.arguments import budget, metadata_filter
from mmrag.cli.command import UsageError
from mmrag.cli.locations import IndexOptions as IndexOptions
from mmrag.cli.texts import say, say_json
from mmrag.documents.remote import is_url
from mmrag.types import Budget

if TYPE_CHECKING:
    from mmrag.answer import Answerer
    from mmrag.documents import ReaderSettings
    from mmrag.embedders.base import Embedder
    from mmrag.pipeline import DocumentQA
    from mmrag.rerank import Reranker
    from mmrag.rerank.traces import TraceWriter

RerankMode = Literal[
    "none", "local", "pointwise", "listwise", "identifiers", "likelihood", "served", "ecrr", "qar"
]
Ocr = Literal["auto", "off", "force"]
Office = Literal["auto", "off"]
SERVER_MODES = get_args(RerankMode)[2:]

_index_option = partial(Option, rich_help_panel="Index")
_reader_option = partial(Option, rich_help_panel="Reading files")
_search_option = partial(Option, rich_help_panel="Searching")
_rerank_option = partial(Option, rich_help_panel="Reranking")
_answer_option = partial(Option, rich_help_panel="Answering by a server")


@dataclass(frozen=True)
class OutputOptions:
    """How a command prints."""

    json: Annotated[bool, Option("--json", help="Print JSON instead of text.")] = False
    verbose: Annotated[bool, Option("--verbose", "-v", help="Log on standard error.")] = False

    def write(self, data: dict[str, Any], text: str, *, indent: int | None = 2) -> None:
        """Print a result: `data` with ``--json``, else `text`."""
        if self.json:
            say_json(data, indent=indent)
        else:
            say(text)


@dataclass(frozen=True)
class EmbedderOptions:
    """Which embedder a command uses."""

    embedder: Annotated[
        str | None,
        _index_option(
            "--embedder",
            metavar="MODEL",
            help="mmrag-mini, which ships in the package; folder of a text encoder; folder or hub name of a "
            "checkpoint; or a server's model. An index needs the one that made it: see reembed. "
            "(mmrag-mini)",
        ),
    ] = None
    embedder_url: Annotated[
        str | None,
        _index_option(
            "--embedder-url",
            metavar="URL",
            help="Server that embeds: `mmrag serve`, or any OpenAI-compatible one.",
        ),
    ] = None

    def load_embedder(self) -> Embedder | None:
        """Load the embedder that is named; None for the default."""
        if self.embedder is None and self.embedder_url is None:
            return None
        from mmrag.models.load import load_embedder, served_embedder

        if self.embedder_url is not None:
            return served_embedder(self.embedder_url, self.embedder)
        return load_embedder(self.embedder)


def open_to_read(index: IndexOptions, embedder: EmbedderOptions, **options: Any) -> DocumentQA:  # noqa: ANN401
    """Open the index of a command that only reads; `options` are those of `DocumentQA.open`."""
    from mmrag.pipeline import DocumentQA

    index.check_index()
    return DocumentQA.open(**index.arguments(), embedder=embedder.load_embedder(), read_only=True, **options)


@dataclass(frozen=True)
class RenderOptions:
    """How pages are drawn and by how many processes."""

    password: Annotated[
        list[str] | None,
        _reader_option(
            "--password",
            metavar="TEXT",
            help="Try on encrypted files; may be repeated. MMRAG_PDF_PASSWORD is not seen by others.",
        ),
    ] = None
    renderer: Annotated[
        Literal["pymupdf", "pdfium"], _reader_option("--renderer", help="What draws pages.")
    ] = "pymupdf"
    workers: Annotated[
        int | None, _reader_option("--workers", min=1, metavar="N", help="Reading processes.")
    ] = None

    def settings(self, ocr: Ocr = "off") -> ReaderSettings:
        """Return the reader's settings."""
        from mmrag.documents import ReaderSettings

        workers: dict[str, Any] = {"workers": self.workers} if self.workers else {}
        return ReaderSettings(ocr=ocr, renderer=self.renderer, **workers)


@dataclass(frozen=True)
class ReaderOptions(RenderOptions):
    """How files are read."""

    ocr: Annotated[
        Ocr,
        _reader_option("--ocr", help="auto: where a page has no usable text layer."),
    ] = "auto"
    ocr_language: Annotated[
        str,
        _reader_option(
            "--ocr-language",
            metavar="NAME",
            help="Of scans, as ru or korean; Latin letters, Chinese and Japanese need none.",
        ),
    ] = ""
    ocr_models: Annotated[
        str,
        _reader_option(
            "--ocr-models", metavar="FOLDER", help="Where downloaded models of other OCR languages are."
        ),
    ] = ""
    attachments: Annotated[
        bool, _reader_option("--attachments", help="Read files attached to PDFs, as documents of their own.")
    ] = False

    office: Annotated[
        Office,
        _reader_option("--office", help="auto: office files by LibreOffice, where it is installed."),
    ] = "auto"

    def reader_settings(self) -> ReaderSettings:
        """Return the reader's settings, OCR and attachments among them."""
        return replace(
            self.settings(self.ocr),
            attachments=self.attachments,
            office=self.office,
            ocr_language=self.ocr_language,
            ocr_models=self.ocr_models,
        )


def check_inputs(inputs: Sequence[str]) -> None:
    """Check that every file, folder or pattern names something.

    Raises:
        FileNotFoundError: one does not; the error names all that do not.
    """
    absent = [text for text in inputs if not _is_there(text)]
    if absent:
        raise FileNotFoundError(
            f"every PATH must be a file, a folder or a pattern that matches some, got {', '.join(absent)}, "
            "where nothing is."
        )


def _is_there(text: str) -> bool:
    if is_url(text):  # whoever lists it says what is not there
        return True
    path = Path(text).expanduser()
    if path.exists() or path.is_symlink():
        return True
    # pathlib's glob takes no absolute patterns
    return glob.has_magic(text) and bool(glob.glob(str(path), recursive=True))  # noqa: PTH207


@dataclass(frozen=True)
class SearchOptions:
    """What is searched and how deep."""

    k: Annotated[int, _search_option("--k", min=1, metavar="N", help="Pages wanted.")] = 5
    budget: Annotated[
        Budget | None,
        _search_option(
            "--budget",
            parser=budget,
            metavar="Q,D",
            help="Vectors used of the query and of a page, like 16,64.",
        ),
    ] = None
    filter: Annotated[
        dict | None,  # type: ignore[type-arg]  # Typer reads no dict[str, Any]
        _search_option(
            "--filter",
            parser=metadata_filter,
            metavar="F",
            help="key=value, or a JSON filter on the metadata.",
        ),
    ] = None
    exact: Annotated[bool, _search_option("--exact", help="Score every page, no first stage.")] = False
    look_again: Annotated[
        int,
        _search_option(
            "--look-again",
            min=0,
            max=8,
            metavar="N",
            help="Where no page is judged to help, N queries more, by the server's model.",
        ),
    ] = 0

    def arguments(self) -> dict[str, Any]:
        """Return the options as arguments of `DocumentQA.search` and `ask`."""
        names = ("k", "budget", "filter", "exact", "look_again")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class ChannelOptions:
    """Which channels search."""

    channels: Annotated[
        Literal["both", "vectors", "text"],
        _search_option("--channels", help="Vectors, words (BM25), or both fused."),
    ] = "both"

    def names(self) -> tuple[str, ...]:
        """Return the channels' names in `mmrag.search_request.CHANNELS`."""
        return ("vectors", "text") if self.channels == "both" else (self.channels,)


@dataclass(frozen=True)
class GroupOptions:
    """How the pages that are found are put together."""

    group_by: Annotated[
        Literal["document"] | None,
        _search_option("--group-by", help="document: --k counts documents, each with up to 3 best pages."),
    ] = None


@dataclass(frozen=True)
class RerankerOptions:
    """Which reranker judges pages."""

    rerank: Annotated[
        RerankMode | None,
        _rerank_option(
            "--rerank",
            "--reranker",
            metavar="MODE",
            help="Who reranks the first pages: local (a small model in this process), none, or a server by "
            f"{', '.join(SERVER_MODES)}. (local; pointwise with --reranker-url)",
        ),
    ] = None
    reranker_url: Annotated[
        str | None,
        _rerank_option("--reranker-url", metavar="URL", help="OpenAI-compatible server whose model reranks."),
    ] = None
    reranker_model: Annotated[
        str | None,
        _rerank_option("--reranker-model", metavar="NAME", help="Model at that server (its first)."),
    ] = None
    reranker_text_only: Annotated[
        bool, _rerank_option("--reranker-text-only", help="Send page text without pictures to that server.")
    ] = False
    text_chars: Annotated[
        int | None,
        _rerank_option("--text-chars", min=100, metavar="N", help="Most characters of such a text (all)."),
    ] = None
    think: Annotated[
        int | None,
        _rerank_option("--think", min=0, metavar="N", help="Tokens it may think before each verdict (0)."),
    ] = None
    think_share: Annotated[
        float | None,
        _rerank_option(
            "--think-share",
            min=0,
            max=1,
            metavar="S",
            help="Share of the pages, the least sure, it does for (1).",
        ),
    ] = None

    @property
    def mode(self) -> str:
        """Return the mode that the options mean: the one that is named, or the default."""
        from mmrag.pipeline import DEFAULT_RERANKER

        return self.rerank or ("pointwise" if self.reranker_url else DEFAULT_RERANKER or "none")

    def load_reranker(
        self, index: Path | None, *, depth: int = 100_000, alpha: float | None = None
    ) -> Reranker | None:
        """Return the reranker that the options name; None for none.

        Args:
            index: directory whose folders keep a server's replies and traces. None: they are not kept.
            depth: most candidates that a local reranker reads.
            alpha: weight of the search score, 0..1. None: the reranker's own.

        Raises:
            UsageError: options that cannot be combined.
        """
        if self.reranker_url:
            return self._server_reranker(index, alpha)
        return self._local_reranker(depth, alpha)

    def _local_reranker(self, depth: int, alpha: float | None) -> Reranker | None:
        options = {
            "--reranker-model": self.reranker_model,
            "--reranker-text-only": self.reranker_text_only,
            "--text-chars": self.text_chars,
            "--think": self.think,
            "--think-share": self.think_share,
        }
        if any(options.values()):
            names = [name for name, value in options.items() if value]
            raise UsageError(f"{', '.join(names)} need{'s' * (len(names) == 1)} --reranker-url.")
        mode = self.mode
        if mode in SERVER_MODES:
            raise UsageError(f"--rerank {mode} needs --reranker-url.")
        if mode == "none" and alpha is not None:
            raise UsageError("--alpha needs --rerank or --reranker-url.")
        if mode == "none":
            return None
        from mmrag.rerank.local import LocalReranker

        return LocalReranker(depth=depth) if alpha is None else LocalReranker(depth=depth, alpha=alpha)

    def _server_reranker(self, index: Path | None, alpha: float | None) -> Reranker:
        if self.rerank in ("none", "local"):
            raise UsageError(f"--rerank {self.rerank} asks no server: leave --reranker-url out.")
        if self.think_share is not None and not self.think:
            raise UsageError("--think-share needs --think.")
        from mmrag.rerank import ThinkReranker
        from mmrag.rerank.stage import writable_folder

        assert self.reranker_url is not None
        traces = None
        if self.rerank in ("ecrr", "qar"):
            traces = trace_writer(self.reranker_url, self.reranker_model, self.reranker_text_only, index)
        return ThinkReranker(
            self.reranker_url,
            mode=self.mode,
            model=self.reranker_model,
            think_tokens=self.think or 0,
            think_share=1.0 if self.think_share is None else self.think_share,
            alpha=alpha or 0.0,
            images=not self.reranker_text_only,
            text_chars=self.text_chars,
            traces=traces,
            cache=None if index is None else writable_folder(index, "replies"),
        )


@dataclass(frozen=True)
class RerankOptions(RerankerOptions):
    """How a ranking is reranked."""

    rerank_top: Annotated[
        int, _rerank_option("--rerank-top", min=1, metavar="N", help="Pages that are reranked.")
    ] = 10
    alpha: Annotated[
        float | None,
        _rerank_option(
            "--alpha", min=0, max=1, metavar="A", help="Weight of the search score (local 0.5, server 0)."
        ),
    ] = None

    def settings(self) -> dict[str, Any]:
        """Return mode, depth and weight, the default mode by its name, for the report of a measurement."""
        return {"mode": self.mode, "top": self.rerank_top, "alpha": self.alpha}

    def arguments(self, index: Path | None) -> dict[str, Any]:
        """Return the options as arguments of `DocumentQA.open`; replies are kept in the folder `index`."""
        reranker = self.load_reranker(index, depth=self.rerank_top, alpha=self.alpha)
        return {"reranker": reranker, "rerank_depth": self.rerank_top}


def trace_writer(url: str, model: str | None, text_only: bool, index: Path | None) -> TraceWriter:
    """Return the writer of page traces, with the cache that indexing and reranking share.

    Raises:
        UsageError: there is no folder for the traces.
    """
    if index is None:
        raise UsageError("traces of an index on a server are kept in a local folder: give --cache DIR.")
    from mmrag.rerank.stage import writable_folder
    from mmrag.rerank.traces import TraceWriter

    return TraceWriter(url, model, images=not text_only, cache=writable_folder(index, "traces"))


@dataclass(frozen=True)
class AnswererOptions:
    """Which server writes answers."""

    answerer_url: Annotated[
        str | None,
        _answer_option("--answerer-url", metavar="URL", help="OpenAI-compatible server whose model answers."),
    ] = None
    answerer_model: Annotated[
        str | None,
        _answer_option("--answerer-model", metavar="NAME", help="Model at that server (its first)."),
    ] = None
    answerer_text_only: Annotated[
        bool, _answer_option("--answerer-text-only", help="Send page text without pictures to the server.")
    ] = False
    answerer_max_tokens: Annotated[
        int, _answer_option("--answerer-max-tokens", min=1, metavar="N", help="Longest answer.")
    ] = 1024
    answerer_pages: Annotated[
        int,
        _answer_option("--answerer-pages", min=1, max=99, metavar="N", help="Most pages shown to the model."),
    ] = 4
    answerer_tables: Annotated[
        Literal["cells", "text"],
        _answer_option("--answerer-tables", help="Tables as rows of cells, or as the page's text."),
    ] = "cells"
    threshold: Annotated[
        float | None,
        _answer_option(
            "--threshold",
            min=0,
            max=1,
            metavar="T",
            help="Least confidence of quotes; 0 always quotes (0.5).",
        ),
    ] = None

    def load_answerer(self) -> Answerer | None:
        """Return the served answerer; None, for quotes at the default threshold, without a URL.

        Raises:
            UsageError: options of a server without its URL, or a threshold with one.
        """
        if self.threshold is not None:
            return self._quotes(self.threshold)
        if not self.answerer_url:
            if self.answerer_model or self.answerer_text_only:
                raise UsageError("--answerer-model and --answerer-text-only need --answerer-url.")
            return None
        from mmrag.answer import ServedAnswerer

        return ServedAnswerer(
            self.answerer_url,
            self.answerer_model,
            images=not self.answerer_text_only,
            max_tokens=self.answerer_max_tokens,
            max_pages=self.answerer_pages,
            tables=self.answerer_tables,
        )

    def _quotes(self, threshold: float) -> Answerer:
        from mmrag.answer import ExtractiveAnswerer
        from mmrag.embedders.cross_encoder import CrossEncoder

        if self.answerer_url:
            raise UsageError("--threshold is for quotes; a server decides itself: leave out --answerer-url.")
        return ExtractiveAnswerer(CrossEncoder(), threshold=threshold)


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is removed when it is closed."""
    return tempfile.TemporaryDirectory(prefix="mmrag-")
