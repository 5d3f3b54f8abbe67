"""The same laws against a real server: whatever its model says is an answer that holds, or a typed error.

Start one as docs/served-answers.md tells, then::

    MMRAG_TEST_SERVER=http://127.0.0.1:8000 python -m pytest tests/answer/served/test_live.py

``MMRAG_TEST_SERVER_IMAGES=0`` is for a model that reads text only. The model may be a tiny random one:
what it says does not matter here, what becomes of it does.
"""

import asyncio
import json
import os

import pytest
from PIL import Image, ImageDraw

from mmrag.answer import ServedAnswerer
from mmrag.answer.served.request import answer_format
from mmrag.errors import ServerAnswerError, ServerStatusError, ServerUnreachableError
from mmrag.serving.client import ServerClient, parse_chat
from mmrag.types import Answer, Candidate, Page, Query, Ranking, Record, Source, Word

URL = os.environ.get("MMRAG_TEST_SERVER", "")
IMAGES = os.environ.get("MMRAG_TEST_SERVER_IMAGES", "1") != "0"
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not URL, reason="MMRAG_TEST_SERVER names no server; see docs/served-answers.md"),
]
SOURCE = Source("b" * 64, "pdf", "acme.pdf", "/docs/acme.pdf")
TEXTS = ("In Asia net sales rose to 9.1 billion.", "In Europe net sales fell 4 % to 24.1 billion.")


def make_page(number: int, text: str) -> Page:
    words = tuple(Word(w, (0.05 * i, 0.2, 0.05 * i + 0.04, 0.22)) for i, w in enumerate(text.split()))
    return Page(
        SOURCE.page_id(number), SOURCE.document_id, number, str(number + 1), text, words, (612, 792), SOURCE
    )


def ranking_of(question: str, texts=TEXTS) -> Ranking:
    pages = [make_page(number, text) for number, text in enumerate(texts)]
    candidates = (Candidate(Record(p.id, None, p.text, page=p), 1.0, n) for n, p in enumerate(pages, 1))
    return Ranking(Query(question), tuple(candidates))


RANKING = ranking_of("How did net sales?")


def render(page: Page, pixels: int) -> Image.Image:
    image = Image.new("RGB", (320, 200), "white")
    ImageDraw.Draw(image).text((10, 90), page.text, fill="black")
    return image


def answerer(**settings) -> ServedAnswerer:
    return ServedAnswerer(
        URL, **{"images": IMAGES, "render": render, "max_tokens": 300, "timeout": 300, **settings}
    )


def check(answer: Answer) -> None:
    """What holds for every answer, whoever wrote it."""
    assert answer.text
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0
    assert answer.usage.seconds["server"] > 0
    assert answer.abstained or answer.citations
    assert [citation.number for citation in answer.citations] == list(range(1, len(answer.citations) + 1))
    for citation in answer.citations:
        assert citation.page in [candidate.page for candidate in RANKING]
        assert bool(citation.boxes) == bool(citation.quote)
        page_words = " ".join(word.text for word in citation.page.words)
        assert all(part in page_words for part in citation.quote.split(" … "))


def answer_or_error(ask) -> Answer | ServerAnswerError:
    try:
        answer = ask()
    except ServerAnswerError as error:
        assert "The model said: " in str(error)
        return error
    check(answer)
    return answer


def test_models_are_listed():
    assert all(isinstance(name, str) and name for name in ServerClient(URL).models())


@pytest.mark.parametrize("seed", range(3))
def test_what_the_schema_holds_the_model_to_is_what_comes(seed):
    """A server that ignores response_format fails here."""
    body = {
        "messages": [{"role": "user", "content": "How did net sales?"}],
        "max_tokens": 200,
        "temperature": 0.7,
        "seed": seed,
        "response_format": answer_format(2),
    }
    reply = parse_chat(ServerClient(URL, timeout=300).chat(body))
    assert reply.usage["completion_tokens"] > 0
    if reply.finish_reason == "length":
        assert reply.content.startswith("{")
    else:
        assert set(json.loads(reply.content, strict=False)) == {"answerable", "answer", "citations"}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_holds_or_is_refused(temperature):
    answer_or_error(lambda: answerer(temperature=temperature).answer(RANKING.query, RANKING))


def test_without_a_schema_an_answer_holds_or_is_refused():
    answer_or_error(lambda: answerer(structured="none").answer(RANKING.query, RANKING))


def test_what_is_streamed_is_the_answer():
    shown: list[str] = []

    def ask() -> Answer:
        for piece in answerer().stream(RANKING.query, RANKING):
            if isinstance(piece, Answer):
                return piece
            shown.append(piece)
        raise AssertionError("the stream ended without an Answer")

    result = answer_or_error(ask)
    if isinstance(result, Answer):
        assert "".join(shown) == result.text


async def test_several_answers_at_once():
    asked = answerer(temperature=0.7)
    results = await asyncio.gather(
        *(asked.aanswer(RANKING.query, RANKING) for _ in range(6)), return_exceptions=True
    )
    await asked.client.aclose()
    assert len(results) == 6
    for result in results:
        assert isinstance(result, Answer | ServerAnswerError), result
        if isinstance(result, Answer):
            check(result)


def test_an_answer_that_does_not_fit_is_cut_off_and_refused():
    with pytest.raises(ServerAnswerError, match=r"max_tokens is 5.*Raise max_tokens"):
        answerer(max_tokens=5).answer(RANKING.query, RANKING)


def test_a_wrong_model_name_is_the_servers_404():
    with pytest.raises(
        ServerStatusError, match=r"answered 404 .*no-such-model.*Check the model name"
    ) as caught:
        answerer(model="no-such-model").answer(RANKING.query, RANKING)
    assert caught.value.status == 404


def test_a_question_too_long_is_the_servers_400():
    long = ranking_of("How did net sales?", ["net sales fell " * 20_000])
    with pytest.raises(ServerStatusError, match=r"answered 400 .*context length") as caught:
        answerer(images=False).answer(long.query, long)
    assert caught.value.status == 400


def test_a_server_cut_off_in_mid_stream_is_unreachable():
    """A relay stands between us and the server, and hangs up after 600 bytes."""

    async def relay(reader, writer):
        host, _, port = URL.partition("://")[2].partition("/")[0].partition(":")
        from_server, to_server = await asyncio.open_connection(host, int(port or 80))
        pump = asyncio.create_task(_pump(reader, to_server))
        sent = 0
        while sent < 600 and (data := await from_server.read(64)):
            writer.write(data)
            sent += len(data)
            await writer.drain()
        pump.cancel()
        to_server.close()
        writer.close()

    async def ask():
        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        name = ServerClient(URL).models()[0]
        body = {"messages": [{"role": "user", "content": "Count."}], "max_tokens": 200, "ignore_eos": True}
        pieces = []
        async with ServerClient(url, model=name, timeout=60) as client:
            with pytest.raises(
                ServerUnreachableError, match="closed the connection in the middle of its answer"
            ):
                async for delta in client.achat_stream(body):
                    pieces.append(delta)
        server.close()

    asyncio.run(ask())


async def _pump(reader, writer) -> None:
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
