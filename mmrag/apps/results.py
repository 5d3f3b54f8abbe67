"""What the API takes and gives, as models that OpenAPI describes."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from mmrag.apps.faults import without_paths
from mmrag.blocks import Block
from mmrag.index.base import DocumentEntry
from mmrag.ingest.report import AddReport
from mmrag.search_request import MOST_QUERIES
from mmrag.types import Answer, Budget, Candidate, Citation, Page, Ranking

LONGEST_QUESTION = 10_000
MOST_CANDIDATES = 100

BoxModel = tuple[float, float, float, float]


class SearchBody(BaseModel):
    """A search."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=1, max_length=LONGEST_QUESTION)
    k: int = Field(10, ge=1, le=MOST_CANDIDATES, description="Pages at most.")
    budget: tuple[int, int] | None = Field(
        None, description="Rows of the question and of a page; all by default."
    )
    filter: dict[str, Any] | None = Field(
        None, description="On the metadata, as in Chroma: {'year': {'$gte': 2020}}."
    )
    channels: list[Literal["vectors", "text"]] = Field(["vectors", "text"], min_length=1, max_length=2)
    rerank: bool = Field(True, description="Read the first pages again with the server's reranker.")
    think_tokens: int | None = Field(None, ge=0, le=32_768, description="Of a reranker that thinks.")
    group_by: Literal["document"] | None = None
    look_again: int = Field(
        0, ge=0, le=MOST_QUERIES, description="Further queries by a model where no page is judged to help."
    )

    def options(self) -> dict[str, Any]:
        """Return the arguments of `DocumentQA.search`, without the question and the filter."""
        return {
            "k": self.k,
            "budget": None if self.budget is None else Budget(*self.budget),
            "rerank": None if self.rerank else False,
            "think_tokens": self.think_tokens if self.rerank else None,
            "look_again": self.look_again if self.rerank else 0,
        }


class MessageModel(BaseModel):
    """A message of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=100_000)
    standalone: str = Field("", max_length=10_000, description="Of a question before: what was searched.")


class AskBody(SearchBody):
    """A question."""

    k: int = Field(5, ge=1, le=MOST_CANDIDATES, description="Pages that are read for the answer.")
    history: list[MessageModel] = Field(
        [],
        max_length=200,
        description="Messages before the question, oldest first, that it may lean on: those of a chat.",
    )
    stream: bool = Field(
        False, description="Server-sent events: 'piece' as the text comes, 'answer' at the end."
    )


class PathsBody(BaseModel):
    """Files of the server's machine to add."""

    model_config = ConfigDict(extra="forbid")

    paths: list[str] = Field(min_length=1, max_length=1000)
    metadata: dict[str, Any] = {}


class MarkModel(BaseModel):
    """Boxes on a page."""

    page_id: str
    boxes: list[BoxModel] = Field(min_length=1, max_length=1000)
    note: str = ""


class HighlightBody(BaseModel):
    """Places to mark in a PDF."""

    model_config = ConfigDict(extra="forbid")

    marks: list[MarkModel] = Field(min_length=1, max_length=1000)


class PageModel(BaseModel):
    """Where a page is."""

    id: str
    document_id: str
    file: str
    number: int = Field(description="From 0.")
    label: str = Field(description="The printed page number, slide 3, Prices!A1:F40; or number + 1.")
    total_pages: int | None
    size: tuple[float, float] = Field(description="Points, as shown.")
    section: list[str] = []
    text_source: str
    picture: str = Field(description="Path of its picture in this API; ?width=PIXELS.")

    @classmethod
    def of(cls, page: Page, record_id: str, base: str) -> PageModel:
        """Return the model of a page; `base` is the path of its collection in the API."""
        return cls(
            id=record_id,
            document_id=page.document_id,
            file=page.source.name,
            number=page.number,
            label=page.label,
            total_pages=page.total_pages,
            size=page.size,
            section=list(page.section),
            text_source=page.text_source,
            picture=f"{base}/pages/{quote(record_id, safe='')}/picture",
        )


class PageDetails(PageModel):
    """A page with its neighbours and its text."""

    text: str
    previous: str | None = Field(description="Id of the page before it.")
    next: str | None = Field(description="Id of the page after it.")


class CandidateModel(BaseModel):
    """A page or text that was found."""

    rank: int
    id: str
    score: float
    scores: dict[str, float] = Field(description="By stage; the last one orders.")
    thought: str = Field("", description="Of a reranker that thinks.")
    snippet: str
    page: PageModel | None

    @classmethod
    def of(cls, candidate: Candidate, base: str) -> CandidateModel:
        """Return the model of a candidate."""
        page = candidate.page
        return cls(
            rank=candidate.rank,
            id=candidate.id,
            score=candidate.score,
            scores=dict(candidate.scores),
            thought="" if candidate.verdict is None else candidate.verdict.thought,
            snippet=" ".join(candidate.record.text[:600].split())[:300],
            page=None if page is None else PageModel.of(page, candidate.id, base),
        )


class RankingModel(BaseModel):
    """What a search found."""

    question: str
    candidates: list[CandidateModel]
    reranked: bool
    why_not_reranked: str | None = None
    notes: list[str] = []

    @classmethod
    def of(cls, ranking: Ranking, base: str) -> RankingModel:
        """Return the model of a ranking."""
        return cls(
            question=ranking.query.text or "",
            candidates=[CandidateModel.of(candidate, base) for candidate in ranking],
            reranked=ranking.reranked,
            why_not_reranked=without_paths(ranking.why_not or "") or None,
            notes=[without_paths(note) for note in ranking.notes],
        )


class CitationModel(BaseModel):
    """Evidence for a part of an answer."""

    number: int
    id: str
    quote: str
    kind: str
    title: str
    note: str
    score: float
    boxes: list[BoxModel] = Field(
        description="Of the quoted words: x0, y0, x1, y1 in 0..1 of the page as shown."
    )
    area: BoxModel | None = Field(description="Of the block around them.")
    location: str = Field("", description="In a file without printed pages: slide 3, Prices!B7, lines 12-14.")
    page: PageModel | None

    @classmethod
    def of(cls, citation: Citation, base: str) -> CitationModel:
        """Return the model of a citation."""
        page = citation.page
        return cls(
            number=citation.number,
            id=citation.record_id,
            quote=citation.quote,
            kind=citation.kind,
            title=citation.title,
            note=without_paths(citation.note),
            score=citation.score,
            boxes=list(citation.boxes),
            area=citation.area,
            location=citation.location,
            page=None if page is None else PageModel.of(page, citation.record_id, base),
        )


class AnswerModel(BaseModel):
    """An answer with its evidence."""

    question: str
    standalone: str = Field(
        description="The question as it was searched, if it leaned on the history; else empty."
    )
    answer: str = Field(description="With [n] after what citation n proves; if abstained, the reason.")
    abstained: bool
    quoted: bool = Field(description="Whether it is quotes of the pages, not words of a model.")
    confidence: float | None
    note: str
    citations: list[CitationModel]
    candidates: list[CandidateModel]
    seconds: dict[str, float]
    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, answer: Answer, base: str) -> AnswerModel:
        """Return the model of an answer."""
        return cls(
            question=answer.ranking.query.text or "",
            standalone=answer.standalone,
            answer=answer.text,
            abstained=answer.abstained,
            quoted=answer.quoted,
            confidence=answer.confidence,
            note=without_paths(answer.note),
            citations=[CitationModel.of(citation, base) for citation in answer.citations],
            candidates=[CandidateModel.of(candidate, base) for candidate in answer.ranking],
            seconds=dict(answer.usage.seconds),
            prompt_tokens=answer.usage.prompt_tokens,
            completion_tokens=answer.usage.completion_tokens,
        )


class DocumentModel(BaseModel):
    """A document of a collection."""

    id: str
    names: list[str] = Field(description="File names, without their folders.")
    kind: str
    total_pages: int
    complete: bool
    skipped: list[tuple[int, str]] = Field(description="Page number and reason of what could not be read.")
    first_page: str | None = Field(description="Id of its first page that is there.")

    @classmethod
    def of(cls, entry: DocumentEntry, first_page: str | None) -> DocumentModel:
        """Return the model of an entry."""
        return cls(
            id=entry.id,
            names=[name.replace("\\", "/").rsplit("/", 1)[-1] for name in entry.names],
            kind=entry.kind,
            total_pages=entry.total_pages,
            complete=entry.complete,
            skipped=list(entry.skipped),
            first_page=first_page,
        )


class CollectionModel(BaseModel):
    """A collection as its caller sees it."""

    name: str
    documents: int
    records: int
    embedder: str
    can_write: bool
    thinks: bool = Field(description="Whether its reranker can think.")
    answers_in_words: bool = Field(description="Whether a model writes the answers; else they are quotes.")


class ReportModel(BaseModel):
    """What adding did."""

    added: list[str]
    replaced: list[str]
    unchanged: list[str]
    renamed: list[str]
    skipped: list[dict[str, Any]]
    notes: dict[str, int]
    pages: int
    seconds: float

    @classmethod
    def of(cls, report: AddReport) -> ReportModel:
        """Return the model of a report."""

        def names(values: list[str]) -> list[str]:
            return [value.replace("\\", "/").rsplit("/", 1)[-1] for value in values]

        return cls(
            added=names([*report.added, *report.reread]),
            replaced=names(report.replaced),
            unchanged=names(report.unchanged),
            renamed=names(report.renamed),
            skipped=[
                {"name": names([item.name])[0], "page": item.page, "reason": without_paths(item.reason)}
                for item in report.skipped
            ],
            notes=dict(report.notes),
            pages=report.pages,
            seconds=report.seconds,
        )


class CellModel(BaseModel):
    """A cell of a table."""

    row: int
    column: int
    text: str
    box: BoxModel | None
    row_span: int
    column_span: int
    is_header: bool


class BlockModel(BaseModel):
    """A part of a page."""

    kind: str
    text: str
    boxes: list[BoxModel]
    level: int
    cells: list[CellModel] | None = Field(description="Of a table.")

    @classmethod
    def of(cls, block: Block) -> BlockModel:
        """Return the model of a block."""
        cells = None
        if block.table is not None:
            cells = [
                CellModel(
                    row=cell.row,
                    column=cell.column,
                    text=cell.text,
                    box=cell.box,
                    row_span=cell.row_span,
                    column_span=cell.column_span,
                    is_header=cell.is_header,
                )
                for cell in block.table.cells
            ]
        return cls(kind=block.kind, text=block.text, boxes=list(block.boxes), level=block.level, cells=cells)


class HeatBox(BaseModel):
    """A line of words and its shade."""

    box: BoxModel
    score: float = Field(description="0..1, the darkest line has 1.")


class HeatModel(BaseModel):
    """What a question's rows matched on a page."""

    note: str
    score: float = Field(description="The page's vector score.")
    rows: list[HeatBox]


class RemovedModel(BaseModel):
    """What was removed."""

    records: int


class HealthModel(BaseModel):
    """The server is up."""

    status: Literal["ok"] = "ok"
    version: str
