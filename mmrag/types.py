"""The nouns of the package: plain frozen data, no torch, no input or output.

Decisions taken here:

* A *box* is ``(x0, y0, x1, y1)`` in 0..1 of the page as it is shown (after rotation and crop),
  origin at the top left.
* ``Page.number`` counts from 0; ``Page.label`` is what is printed on the page ("iv", "A-3").
* A page id is ``sha256(file)[:16] + "#p" + number``, so the same file added twice is the same pages.
* An index holds `Record`s. Most are pages; a plain text has ``page=None``.
* Larger scores are better; rank 1 is best.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, overload

from mmrag.anchors import PAGED_KINDS, Anchor, anchor_name
from mmrag.blocks import Block, LateParts
from mmrag.blocks import Box as Box
from mmrag.blocks import HiddenText as HiddenText
from mmrag.blocks import Word as Word
from mmrag.errors import check_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Scalar: TypeAlias = "str | int | float | bool"
Metadata: TypeAlias = "Mapping[str, Scalar | tuple[Scalar, ...]]"
"""Flat key to value; a tuple means that the key has several values (a file under two names)."""

Matrix: TypeAlias = "NDArray[np.float32] | NDArray[np.float16]"
"""``(rows, dim)``: nested vectors of one item, best prefix first."""


@dataclass(frozen=True, slots=True)
class Source:
    """Origin of a document: enough to read it again and to notice that its bytes changed.

    Attributes:
        sha256: hexadecimal digest of the whole file.
        kind: ``"pdf"``, ``"xps"``, ``"epub"``, ``"svg"``, ``"image"``, or one to convert (``"docx"``, ...).
        name: the file name shown to people.
        path: absolute path; None when the index keeps its own copy of the bytes.

    Example:
        >>> qa.search("Europe")[0].page.source.name
        'report.pdf'
    """

    sha256: str
    kind: str
    name: str
    path: str | None = None

    @property
    def document_id(self) -> str:
        """Return the first 16 hexadecimal digits of the digest."""
        return self.sha256[:16]

    def page_id(self, number: int) -> str:
        """Return the id of the page with this 0-based number."""
        return f"{self.document_id}#p{number}"


@dataclass(frozen=True, slots=True)
class Page(LateParts):
    """One page of a document (for an image file: one frame).

    Attributes:
        id: `Source.page_id`, or the caller's own id for an image stored by itself.
        document_id: `Source.document_id`.
        number: 0-based position in the file.
        label: the printed page label, or its name ("slide 3", "Prices!A1:F40"); ``str(number + 1)`` without.
        text: the page's visible text in reading order; ``""`` for a picture without text.
        words: the same text as words with boxes.
        size: width and height in points (1/72 inch) as shown, rotation applied.
        source: the file.
        total_pages: pages in the file.
        text_source: ``"layer"`` (the file's own text), ``"ocr"``, ``"both"`` (the file's own text, and OCR
            where there is ink without any), ``"none"``, or ``"unread"``: OCR was needed and did not happen
            (not installed, or it took too long), so text may be missing.
        notes: of the reader ("text layer is garbage, OCR used").
        confidence: of OCR, 0..1, the mean over its words weighted by their letters; None without OCR.
        hidden: text of the file that no eye sees on the page; not in `text` and `words`.
        section: titles of the sections that the page begins in or holds, outermost first, from the file's
            outline or its headings; empty if it has none.
        anchors: named parts of the page (headings, lines, rows and columns), of files that were converted.
        blocks: the page's structure in reading order; None until it has been read
            (`mmrag.DocumentQA.blocks`, ``ReaderSettings(structure="full")``).
        image: the rendered page, if it was requested; never stored, never compared.

    Example:
        >>> page = qa.search("Who chairs the board?")[0].page
        >>> page.source.name, page.number, page.label
        ('report.pdf', 1, '2')
    """

    id: str
    document_id: str
    number: int
    label: str
    text: str = field(repr=False)
    words: tuple[Word, ...] = field(repr=False)
    size: tuple[float, float]
    source: Source
    total_pages: int = 1
    text_source: str = "layer"
    notes: tuple[str, ...] = ()
    confidence: float | None = None
    hidden: tuple[HiddenText, ...] = field(default=(), repr=False)
    section: tuple[str, ...] = ()
    anchors: tuple[Anchor, ...] = field(default=(), repr=False)
    blocks: tuple[Block, ...] | None = field(default=None, repr=False)
    image: Image | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Query:
    """A question or search: text, an image, both, or a sequence of them.

    Attributes:
        text: words to search for; with `parts`, their texts joined by line breaks.
        image: with `parts`, the first of their images.
        instruction: the kind of documents to find; None leaves it to the embedder, ``""`` gives none.
        thought: a reasoning trace about the query, for embedders that read one.
        parts: texts and images in reading order, if the order matters or there are several images;
            instead of `text` and `image`.

    Raises:
        ValueError: neither text nor image, or `parts` together with another `text` or `image`.

    Example:
        >>> query = Query("Who chairs the board?", instruction="Find annual reports.")
        >>> qa.search(query, k=1)[0].page.number
        1
    """

    text: str | None = None
    image: Image | None = field(default=None, compare=False, repr=False)
    instruction: str | None = None
    thought: str = field(default="", repr=False)
    parts: tuple[str | Image, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        """Fill text and image from the parts; refuse the empty query."""
        if self.parts:
            text, image = of_parts(self.parts, self.text or "", self.image)
            object.__setattr__(self, "text", text or None)
            object.__setattr__(self, "image", image)
        if not (self.text and self.text.strip()) and self.image is None:
            raise ValueError(
                f"a query must have text or an image, got text={self.text!r} and no image. "
                "Pass Query(text=...) or Query(image=...)."
            )


def of_parts(parts: Sequence[str | Image], text: str, image: Image | None) -> tuple[str, Image | None]:
    """Return the texts of `parts`, joined by line breaks, and the first image.

    Raises:
        ValueError: `text` or `image` differs from those of the parts.
    """
    words = "\n".join(part for part in parts if isinstance(part, str))
    first = next((part for part in parts if not isinstance(part, str)), None)
    if text not in ("", words) or (image is not None and image is not first):
        raise ValueError(
            f"parts must be given without text and image, got parts and {'a text' if text else 'an image'}. "
            "Put it into the parts."
        )
    return words, first


@dataclass(frozen=True, slots=True)
class Budget:
    """Number of nested vectors used on each side: the one dial of quality, latency and size.

    ``Budget(1, 1)`` is a plain single-vector search. Larger budgets score longer prefixes of the
    same arrays, so nothing is stored twice. MetaEmbed (arXiv 2509.18095) writes ``(r_q, r_c)``.

    Raises:
        ValueError: a side is smaller than 1.

    Example:
        >>> len(qa.search("Europe", budget=Budget(query=1, document=4)))
        2
    """

    query: int = 16
    document: int = 64

    def __post_init__(self) -> None:
        """Refuse a budget without vectors."""
        for side in ("query", "document"):
            check_whole(f"budget.{side}", getattr(self, side), hint="Budget(1, 1) is the smallest search.")


@dataclass(frozen=True, slots=True)
class Record:
    """An entry of an index: nested vectors, text, metadata and, for a page, the page.

    Attributes:
        id: unique in the index; a page id for pages, anything not empty for the caller's own.
        matrix: ``(rows, dim)`` nested vectors; None if they were not requested of the index.
        text: read by the lexical channel, shown and quoted.
        metadata: flat; read by filters.
        page: the page, or None for a plain text.
        context: words of the document and the place that the text is of (title, file name, sections); read by
            the lexical channel before the text, never shown and never quoted.

    Example:
        >>> record = qa.index.get(qa.index.ids())[0]
        >>> record.metadata["file_name"]
        'report.pdf'
    """

    id: str
    matrix: Matrix | None = field(compare=False, repr=False)
    text: str = ""
    metadata: Metadata = field(default_factory=dict)
    page: Page | None = None
    context: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """An id and its score in one channel of one index."""

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Cost of an answer or a judgement.

    Attributes:
        seconds: wall time by stage.
        prompt_tokens, completion_tokens: the server's own count; 0 without a server.
        cache_hits: replies read from disk instead of requested; their tokens are not counted.
        requests: replies that a server gave.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_hits: int = 0
    requests: int = 0

    def __add__(self, usage: Usage) -> Usage:
        """Add two costs; seconds of the same stage are summed."""
        seconds = dict(self.seconds)
        for stage, value in usage.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + value
        return Usage(
            seconds,
            self.prompt_tokens + usage.prompt_tokens,
            self.completion_tokens + usage.completion_tokens,
            self.cache_hits + usage.cache_hits,
            self.requests + usage.requests,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Judgement of a reranker on one candidate.

    Attributes:
        score: larger is better; its scale is the mode's (a probability for ``pointwise``).
        thought: written by the model before it judged; ``""`` if it did not think.
        evidence: boxes named by the model, if they were requested.
        usage: cost of this judgement; shared work (a listwise window) counts for the ranking alone.
        note: a warning for readers ("not in the model's list: kept in prior order").
        read: False if the reranker can read nothing of the candidate, so that the score is only a default.

    Example:
        >>> judged = qa.search("Who chairs the board?", rerank="local")
        >>> judged[0].verdict.score > judged[1].verdict.score
        True
    """

    score: float
    thought: str = field(default="", repr=False)
    evidence: tuple[Box, ...] = ()
    usage: Usage = field(default_factory=Usage)
    note: str = ""
    read: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record retrieved for a query.

    Attributes:
        record: without its matrix.
        score: the score that ordered it: of the last stage in `scores`. A fused score compares candidates of
            one ranking only; see `mmrag.scoring.fuse`.
        rank: 1 is best.
        scores: by stage, for example ``{"vectors": 0.71, "text": 8.2, "fused": 1.9}``.
        verdict: the reranker's; None if it was not judged.

    Example:
        >>> best = qa.search("Who chairs the board?")[0]
        >>> best.rank, best.page.number, best.scores["text"] > 0
        (1, 1, True)
    """

    record: Record
    score: float
    rank: int
    scores: Mapping[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None

    @property
    def id(self) -> str:
        """Return the record's id."""
        return self.record.id

    @property
    def page(self) -> Page | None:
        """Return the record's page; None for a plain text."""
        return self.record.page

    @property
    def document_id(self) -> str:
        """Return the id of the page's document; of a plain text, which is of none, its own id."""
        return self.record.id if self.record.page is None else self.record.page.document_id


@dataclass(frozen=True, slots=True, repr=False)
class Ranking(Sequence[Candidate]):
    """The ordered candidates of one query.

    Attributes:
        query: the search.
        candidates: best first, ranks 1..n without gaps.
        reranked: whether a reranker ordered them.
        why_not: the reason why a requested reranker did not.
        usage: cost of reranking: seconds, tokens, cache hits.
        notes: warnings about the order ("pages shortened to 900 tokens to fit the model").

    Example:
        >>> ranking = qa.search("Who chairs the board?", k=2)
        >>> ranking.reranked, [candidate.page.number for candidate in ranking]
        (True, [1, 0])
    """

    query: Query
    candidates: tuple[Candidate, ...] = ()
    reranked: bool = False
    why_not: str | None = None
    usage: Usage = field(default_factory=Usage)
    notes: tuple[str, ...] = ()

    @property
    def documents(self) -> dict[str, tuple[Candidate, ...]]:
        """Return the candidates by the id of their document, documents in the order of their best page."""
        groups: dict[str, tuple[Candidate, ...]] = {}
        for candidate in self.candidates:
            groups[candidate.document_id] = (*groups.get(candidate.document_id, ()), candidate)
        return groups

    def __repr__(self) -> str:
        """Return a short form: a ranking holds whole pages."""
        return f"<Ranking of {len(self.candidates)} candidates for {self.query.text!r}>"

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.candidates)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        """Return the candidate at a 0-based position, or a tuple of candidates for a slice."""
        return self.candidates[index]


@dataclass(frozen=True, slots=True)
class Citation:
    """Evidence for a part of an answer.

    Attributes:
        number: the n of ``[n]`` in the answer's text, from 1.
        record_id: the record cited.
        quote: words of the record, exactly. Where a page's end cuts a sentence, its rest from the next page
            follows, which has a citation of its own, too, for its place.
        boxes: of the record's words; empty if the record has no page or its words have no boxes.
        page: the page; None for a plain text.
        score: the retrieval score of its candidate.
        kind: of the block that holds the quote, one of `mmrag.blocks.BLOCK_KINDS` (``"text"``, ``"table"``,
            ``"picture"``, ...), or ``"page"`` (the whole page is meant).
        title: caption or heading above the quote; ``""`` if there is none.
        picture: PNG bytes of the page with the boxes drawn, if evidence was requested.
        note: a warning for readers, for example that the record lacks the model's quote.
        area: the block around the words (paragraph, table, figure); None where no block is known.

    Example:
        >>> [citation] = qa.ask("Who chairs the board?", k=1).citations
        >>> citation.quote, citation.page.number
        ('Ingrid Thorne chairs the board.', 1)
    """

    number: int
    record_id: str
    quote: str
    boxes: tuple[Box, ...] = ()
    page: Page | None = None
    score: float = 0.0
    kind: str = "text"
    title: str = ""
    picture: bytes | None = field(default=None, compare=False, repr=False)
    note: str = ""
    area: Box | None = None

    @property
    def location(self) -> str:
        """Return the place in a file without printed pages ("Prices!B7", "slide 3"); ``""`` in a PDF."""
        page = self.page
        if page is None or page.source.kind in PAGED_KINDS:
            return ""
        return anchor_name("" if page.label == str(page.number + 1) else page.label, page.anchors, self.boxes)


QUOTES_HEADING = "Quoted from the pages, best first:"
"""Stands above an answer of quotes where people read it."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """An answer and its evidence.

    Attributes:
        text: the answer, with ``[n]`` after what citation n proves; if `abstained`, the reason.
        citations: numbered from 1.
        ranking: the candidates that were read.
        abstained: True if the documents do not answer the question.
        usage: seconds and tokens.
        note: obstacle to a better answer ("3 pages have not been read, since ...").
        confidence: 0..1, how likely the first quote is right as far as the answerer can tell; given for
            abstentions too. None: the answerer states none.
        quoted: whether `text` is quotes of the pages, best first, and not words of a model.
        standalone: the question as it was searched, if it leaned on earlier ones of a chat; else ``""``.

    Example:
        >>> answer = qa.ask("Who chairs the board?", k=1)
        >>> answer.text, answer.abstained
        ('Ingrid Thorne chairs the board. [1]', False)
    """

    text: str
    citations: tuple[Citation, ...]
    ranking: Ranking
    abstained: bool = False
    usage: Usage = field(default_factory=Usage)
    note: str = ""
    confidence: float | None = None
    quoted: bool = False
    standalone: str = ""

    def __repr__(self) -> str:
        """Return a short form: an answer holds whole pages."""
        kind = "abstained" if self.abstained else f"citations={len(self.citations)}"
        return f"<Answer {self.text!r} {kind}>"

    def _repr_html_(self) -> str:
        """Show the answer, each citation and its picture in a notebook."""
        parts = [f"<p><i>{QUOTES_HEADING}</i></p>"] if self.quoted else []
        if self.standalone:
            parts.append(f"<p><i>Searched: {html.escape(self.standalone)}</i></p>")
        parts.append(f"<p>{html.escape(self.text).replace(chr(10), '<br>')}</p>")
        if self.note:
            parts.append(f"<p><i>{html.escape(self.note)}</i></p>")
        if self.confidence is not None:
            parts.append(f"<p><i>confidence {self.confidence:.2f}</i></p>")
        for citation in self.citations:
            where = html.escape(describe_place(citation))
            parts.append(f"<p><b>[{citation.number}]</b> {where}<br><q>{html.escape(citation.quote)}</q></p>")
            if citation.picture is not None:
                data = base64.b64encode(citation.picture).decode("ascii")
                parts.append(f'<img style="max-width:100%" src="data:image/png;base64,{data}" alt="{where}">')
        return "".join(parts)


def describe_place(citation: Citation) -> str:
    """Describe a citation in one line: file, page, its place or printed label, and kind of evidence."""
    page = citation.page
    if page is None:
        return citation.record_id
    label = f" (label {page.label})" if page.label != str(page.number + 1) else ""
    label = f", {citation.location}" if citation.location else label
    title = f', {citation.kind} "{citation.title}"' if citation.title else f", {citation.kind}"
    note = f" ({citation.note})" if citation.note else ""
    return f"{page.source.name}, page {page.number + 1}{label}{title}{note}"
