"""Every public method of `DocumentQA` has an async twin of the same signature and the same result."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from PIL import Image

from mmrag import Answer, Budget, DocumentQA, MemoryIndex, Ranking, ReaderSettings
from mmrag.rerank.ordering import reorder
from mmrag.search_request import SearchRequest
from mmrag.types import Candidate, Citation, Usage, Verdict

PAGES = [
    "The blue whale is the largest animal.\nIt can weigh 150 tonnes.",
    "Green tea is steeped at 80 degrees.\nIt is drunk in Japan.",
]
QUESTION = "How hot should green tea be?"

METHODS = sorted(
    name
    for name, member in vars(DocumentQA).items()
    if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, classmethod))
)
NOT_BLOCKING = {"chat"}  # makes an object, whose own methods have their twins
BLOCKING = [name for name in METHODS if f"a{name}" in METHODS]


class LastFirst:
    """Turns a ranking around, and says whether it was awaited."""

    think_tokens = 0

    def __init__(self) -> None:
        self.calls: list[str] = []

    def rerank(
        self, ranking: Ranking, *, top_n: int | None = None, think_tokens: int | None = None
    ) -> Ranking:
        self.calls.append("blocking")
        verdicts = [Verdict(float(position)) for position in range(len(ranking))]
        return reorder(ranking, verdicts, top_n=top_n)

    async def arerank(
        self, ranking: Ranking, *, top_n: int | None = None, think_tokens: int | None = None
    ) -> Ranking:
        ranking = self.rerank(ranking, top_n=top_n, think_tokens=think_tokens)
        self.calls[-1] = "awaited"
        return ranking


class Quoting:
    """Answers with the first page's text, whole or in two pieces, and says whether it was awaited."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def answer(self, query: Any, ranking: Ranking) -> Answer:
        self.calls.append("blocking")
        return Answer(ranking[0].record.text, (), ranking)

    async def aanswer(self, query: Any, ranking: Ranking) -> Answer:
        self.calls.append("awaited")
        return Answer(ranking[0].record.text, (), ranking)

    def stream(self, query: Any, ranking: Ranking):
        answer = self.answer(query, ranking)
        yield from (answer.text[:5], answer.text[5:], answer)

    async def astream(self, query: Any, ranking: Ranking):
        answer = await self.aanswer(query, ranking)
        for piece in (answer.text[:5], answer.text[5:], answer):
            yield piece


def make_qa(embedder, pdf=None) -> DocumentQA:
    qa = DocumentQA(
        MemoryIndex.for_embedder(embedder), embedder=embedder, reader=ReaderSettings(ocr="off", workers=1)
    )
    if pdf is not None:
        qa.add(pdf)
        qa.add_texts(["A note on tea."], ids=["note"])
    return qa


@pytest.fixture
def pdf(tmp_path, make_pdf):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    return make_pdf(tmp_path / "nature.pdf", PAGES)


def arguments(name: str, qa: DocumentQA, pdf, tmp_path, side: str) -> tuple[tuple, dict[str, Any]]:
    """Arguments of one call of a method."""
    page = next(record.page for record in qa.index.get(qa.index.ids()) if record.page is not None)
    return {
        "add": ((pdf,), {"metadata": {"shelf": "a"}}),
        "add_images": (([pdf.parent / "a.png"],), {"ids": ["image"]}),
        "add_texts": ((["Red tea."],), {"ids": ["red"]}),
        "blocks": ((page,), {}),
        "check": ((), {"repair": False}),
        "crop": ((Citation(1, page.id, "", page=page, area=(0.1, 0.1, 0.5, 0.5)),), {"max_pixels": 9_000}),
        "ask": ((QUESTION,), {"k": 1, "budget": Budget(1, 1), "evidence": False}),
        "delete": ((["note"],), {}),
        "highlight": (
            ([Citation(1, page.id, "", ((0.1, 0.1, 0.5, 0.2),), page)], tmp_path / f"{side}.pdf"),
            {},
        ),
        "plan_sync": ((pdf.parent,), {}),
        "sync_folder": ((pdf.parent,), {"metadata": {"shelf": "a"}, "allow_removal": True}),
        "open": ((tmp_path / side,), {"embedder": qa.embedder}),
        "picture_path": ((page,), {"max_pixels": 9_000}),
        "reembed": ((tmp_path / side,), {"embedder": qa.embedder}),
        "remove": (("nature.pdf",), {}),
        "render": ((page,), {"max_pixels": 9_000}),
        "search": ((QUESTION,), {"k": 2, "exact": True, "channels": ("vectors",)}),
        "status": ((), {}),
        "stream": ((QUESTION,), {"k": 1}),
    }[name]


def comparable(result: Any) -> Any:
    """What must be equal of two results: no seconds, no objects that differ by identity alone."""
    if isinstance(result, DocumentQA):
        with result:
            return replace(result.status(), path=None)
    if isinstance(result, Answer):
        return replace(result, usage=Usage(), ranking=comparable(result.ranking))
    if isinstance(result, Ranking):
        candidates = tuple(comparable(candidate) for candidate in result.candidates)
        return replace(result, usage=Usage(), candidates=candidates)
    if isinstance(result, Candidate):
        return replace(result, verdict=result.verdict and replace(result.verdict, usage=Usage()))
    if isinstance(result, list):
        return [comparable(item) for item in result]
    if hasattr(result, "seconds"):
        return replace(result, seconds=0.0)
    if hasattr(result, "tobytes"):
        return result.size, result.tobytes()
    if isinstance(result, Path) and result.suffix == ".pdf":  # the time stands in it
        with pymupdf.open(result) as document:
            return [[(mark.type, tuple(mark.rect)) for mark in page.annots()] for page in document]
    return result.read_bytes() if isinstance(result, Path) else result


async def awaited(result: Any) -> Any:
    return [piece async for piece in result] if hasattr(result, "__aiter__") else await result


def test_every_public_method_has_its_twin() -> None:
    assert {name for name in METHODS if name not in BLOCKING} == {
        f"a{name}" for name in BLOCKING
    } | NOT_BLOCKING
    assert {"add", "add_texts", "add_images", "search", "ask", "stream", "render", "close"} <= set(BLOCKING)


@pytest.mark.parametrize("name", [name for name in BLOCKING if name != "open"])
def test_a_twin_has_the_signature_of_its_method(name: str) -> None:
    assert inspect.signature(getattr(DocumentQA, f"a{name}")) == inspect.signature(getattr(DocumentQA, name))


def test_the_defaults_of_a_question_are_those_of_the_request_but_for_k() -> None:
    request = inspect.signature(SearchRequest).parameters
    ask = inspect.signature(DocumentQA.ask).parameters
    for name in set(request) & set(ask) - {"k"}:
        assert request[name].default == ask[name].default, name
    search = inspect.signature(DocumentQA.search).parameters
    for name in set(request):
        assert request[name].default == search[name].default, name


async def test_a_question_without_k_reads_as_many_pages_either_way(embedder) -> None:
    qa = make_qa(embedder)
    qa.add_texts([f"Tea number {n}." for n in range(8)])
    with qa:
        expected = comparable(qa.ask("tea", evidence=False).ranking)
        assert len(expected) == 5
        assert comparable((await qa.aask("tea", evidence=False)).ranking) == expected
        assert comparable(list(qa.stream("tea"))[-1].ranking) == expected
        assert comparable([piece async for piece in qa.astream("tea")][-1].ranking) == expected


@pytest.mark.parametrize("name", [n for n in BLOCKING if n not in ("backup", "close", "write_traces")])
async def test_a_twin_gives_what_its_method_gives(name: str, embedder, pdf, tmp_path) -> None:
    results = []
    for side in ("blocking", "async"):
        with make_qa(embedder, pdf) as qa:
            args, options = arguments(name, qa, pdf, tmp_path, side)
            if side == "async":
                result = await awaited(getattr(qa, f"a{name}")(*args, **options))
            else:
                result = getattr(qa, name)(*args, **options)
                result = list(result) if inspect.isgenerator(result) else result
            results.append((comparable(result), sorted(qa.index.ids())))
    assert results[0] == results[1]


async def test_reranker_and_answerer_are_awaited_not_run_in_a_thread(embedder, pdf) -> None:
    with make_qa(embedder, pdf) as qa:
        for name in ("search", "ask", "stream"):
            for twin in (name, f"a{name}"):
                reranker, answerer = LastFirst(), Quoting()
                options: dict[str, Any] = {} if name == "search" else {"answerer": answerer}
                result = getattr(qa, twin)(QUESTION, rerank=reranker, think_tokens=0, **options)
                if twin != name:
                    await awaited(result)
                elif name == "stream":
                    list(result)
                expected = "blocking" if twin == name else "awaited"
                assert set(reranker.calls + answerer.calls) == {expected}, twin


async def test_a_twin_runs_in_the_callers_context_and_calls_what_a_subclass_has(embedder) -> None:
    who = contextvars.ContextVar("who", default="nobody")

    class Telling(DocumentQA):
        def delete(self, ids):
            return f"{who.get()} deletes {ids}"

    with Telling(MemoryIndex.for_embedder(embedder), embedder=embedder) as qa:
        who.set("the caller")
        assert await qa.adelete(["a"]) == "the caller deletes ['a']"


def test_closing_twice_and_in_a_loop_is_fine(embedder) -> None:
    qa = make_qa(embedder)

    async def close() -> None:
        async with qa:
            pass
        await qa.aclose()

    asyncio.run(close())
