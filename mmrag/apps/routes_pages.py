"""Pages: where they are, their pictures and parts, and their document with places marked."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from mmrag.apps.pictures import WIDEST
from mmrag.apps.results import (
    LONGEST_QUESTION,
    BlockModel,
    HeatBox,
    HeatModel,
    HighlightBody,
    PageDetails,
    PageModel,
)
from mmrag.apps.scope import Scope, ScopeOf
from mmrag.explanation import explain
from mmrag.ingest.highlights import highlighted_pdfs
from mmrag.types import Citation, Page

router = APIRouter(prefix="/api/collections/{collection}/pages/{page_id}", tags=["pages"])
documents_router = APIRouter(prefix="/api/collections/{collection}", tags=["pages"])

Width = Annotated[int, Query(ge=16, le=WIDEST, description="Pixels across.")]
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A PNG."}}


@router.get("")
def page(page_id: str, scope: ScopeOf) -> PageDetails:
    """Return where a page is, its text and its neighbours."""
    record, own_page = scope.record(page_id), scope.page(page_id)
    before, after = _neighbours(scope, own_page)
    location = PageModel.of(own_page, page_id, scope.base)
    return PageDetails(**location.model_dump(), text=record.text, previous=before, next=after)


def _neighbours(scope: Scope, page: Page) -> tuple[str | None, str | None]:
    """Return the ids of the pages before and after a page, by the numbers in the ids: no page is read."""
    start = page.source.page_id(0)[:-1]
    ids = scope.qa.index.ids(scope.filter({"doc_id": page.document_id}))
    numbers = {int(id.removeprefix(start)) for id in ids if id.startswith(start)}
    before = max((number for number in numbers if number < page.number), default=None)
    after = min((number for number in numbers if number > page.number), default=None)
    return (
        None if before is None else page.source.page_id(before),
        None if after is None else page.source.page_id(after),
    )


@router.get("/picture", response_class=Response, responses=PNG)
def picture(page_id: str, scope: ScopeOf, width: Width = 1000) -> Response:
    """Return a page as PNG."""
    return _image(scope.server.pictures.page(scope.qa, scope.page(page_id), width))


@router.get("/crop", response_class=Response, responses=PNG)
def crop(
    page_id: str,
    scope: ScopeOf,
    x0: Annotated[float, Query(ge=0, le=1)],
    y0: Annotated[float, Query(ge=0, le=1)],
    x1: Annotated[float, Query(ge=0, le=1)],
    y1: Annotated[float, Query(ge=0, le=1)],
    width: Width = 800,
) -> Response:
    """Return a part of a page as PNG: a table, a figure."""
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"a box must have x0 < x1 and y0 < y1, got {(x0, y0, x1, y1)}.")
    return _image(scope.server.pictures.crop(scope.qa, scope.page(page_id), (x0, y0, x1, y1), width))


@router.get("/blocks")
def blocks(page_id: str, scope: ScopeOf) -> list[BlockModel]:
    """Return the structure of a page: headings, paragraphs, tables with their cells, figures."""
    return [BlockModel.of(block) for block in scope.qa.blocks(scope.page(page_id))]


@router.get("/heat")
def heat(
    page_id: str,
    scope: ScopeOf,
    question: Annotated[str, Query(min_length=1, max_length=LONGEST_QUESTION)],
) -> HeatModel:
    """Return which lines of a page a question's vectors matched, and how much."""
    scope.page(page_id)
    explanation = explain(scope.qa, question, page_id)
    rows = [HeatBox(box=box, score=shade) for box, shade in explanation.boxes()]
    return HeatModel(note=explanation.note, score=explanation.score, rows=rows)


@documents_router.post(
    "/highlight",
    response_class=Response,
    responses={200: {"content": {"application/pdf": {}}, "description": "A PDF."}},
)
def highlight(body: HighlightBody, scope: ScopeOf) -> Response:
    """Return the document of some places as PDF, with the places marked."""
    pages = [scope.page(mark.page_id) for mark in body.marks]
    if len({page.document_id for page in pages}) > 1:
        raise ValueError("marks must be of one document. Send one request a document.")
    citations = [
        Citation(number, mark.page_id, mark.note, tuple(mark.boxes), page)
        for number, (mark, page) in enumerate(zip(body.marks, pages, strict=True), start=1)
    ]
    (data,) = highlighted_pdfs(scope.qa.index, lambda: scope.qa.reader, citations).values()
    return Response(data, media_type="application/pdf", headers={"Content-Disposition": "attachment"})


def _image(data: bytes) -> Response:
    return Response(data, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})
