"""Servers that are not vLLM. `fake_server`, a real HTTP server, sends again what they send.

Chat, models and errors were recorded from `transformers serve`; rerank replies are in infinity's form.
"""

import json
import re

import pytest

from mmrag import Query, ServedAnswerer, ThinkReranker
from mmrag.errors import ServerAnswerError, ServerStatusError
from mmrag.serving.client import ServerClient
from mmrag.types import Answer, Candidate, Ranking, Record

NOT_FOUND = {"detail": "Not Found"}  # FastAPI's, of any path that a server lacks
TEXTS = ("Trams stop at the gate.", "Leave is 27 days a year.")
CANDIDATES = tuple(Candidate(Record(t[:5], None, t), 1.0, n) for n, t in enumerate(TEXTS, start=1))
RANKING = Ranking(Query("How long is leave?"), CANDIDATES)


def chunk(finish: str | None = None, **delta: str) -> bytes:
    """An event of `transformers serve`: no usage of its own, no ``[DONE]`` behind the last."""
    choice = {"delta": delta, "index": 0} | ({"finish_reason": finish} if finish else {})
    event = {"id": "43f0", "choices": [choice], "created": 1, "model": "m@main", "system_fingerprint": ""}
    return f"data: {json.dumps(event)}\n\n".encode()


def answerer(url: str, **settings) -> ServedAnswerer:
    return ServedAnswerer(url, **{"images": False, "max_retries": 0, "model": "m", **settings})


SAID = '{"answerable": true, "answer": "27 days [2].", "citations": [{"page": 2, "quote": "27 days a year"}]}'


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_stream_without_done_is_whole_once_it_says_why_it_ended(fake_server, finish):
    pieces = [chunk(role="assistant"), *(chunk(content=SAID[i : i + 9]) for i in range(0, len(SAID), 9))]
    fake_server.events([*pieces, chunk(finish)])
    *texts, answer = answerer(fake_server.url).stream(RANKING.query, RANKING)
    assert isinstance(answer, Answer)
    assert "".join(texts) == answer.text == "27 days [1]."
    assert answer.citations[0].quote == "27 days a year."


def test_a_stream_that_ends_without_a_reason_is_cut_off(fake_server):
    fake_server.events([chunk(content=SAID)])
    with pytest.raises(ServerAnswerError, match=r"without \[DONE\] or finish_reason"):
        list(answerer(fake_server.url).stream(RANKING.query, RANKING))


def test_a_model_without_the_format_answers_in_plain_text(fake_server):
    """`transformers serve` ignores response_format without a word."""
    fake_server.events([chunk(content="Leave is"), chunk(content=" 27 days [2]."), chunk("stop")])
    *texts, answer = answerer(fake_server.url).stream(RANKING.query, RANKING)
    assert "".join(texts) == answer.text == "Leave is 27 days [1]."
    assert (answer.citations[0].record_id, answer.citations[0].kind) == ("Leave", "page")
    assert answer.note == "the model wrote plain text, and no quotes"


@pytest.mark.parametrize("status", [404, 405, 500, 501])
def test_a_server_without_a_list_of_models_is_asked_without_a_name(fake_server, status):
    fake_server.reply(status, b"Internal Server Error").chat(SAID).chat(SAID)
    asked = answerer(fake_server.url, model=None)
    assert [asked.answer(RANKING.query, RANKING).text for _ in range(2)] == ["27 days [1]."] * 2
    assert [request.path for request in fake_server.requests] == [
        "/v1/models", "/v1/chat/completions", "/v1/chat/completions"
    ]  # fmt: skip
    assert "model" not in fake_server.requests[1].json


def test_where_a_name_is_needed_a_missing_list_says_what_to_pass(fake_server):
    fake_server.reply(404, NOT_FOUND)
    with pytest.raises(ServerStatusError, match=r"/v1/models answered 404: .*lists no models. Pass model="):
        ServerClient(fake_server.url, max_retries=0).model_name()


def test_a_list_that_may_not_be_read_is_no_missing_list(fake_server):
    fake_server.reply(401, {"detail": "Unauthorized"})
    with pytest.raises(ServerStatusError, match=r"answered 401 .*api_key"):
        answerer(fake_server.url, model=None).answer(RANKING.query, RANKING)


def test_a_missing_tokenize_is_not_blamed_on_the_name(fake_server):
    fake_server.reply(404, NOT_FOUND)
    asked = ThinkReranker(fake_server.url, model="m", mode="pointwise", images=False, max_retries=0)
    with pytest.raises(ServerStatusError, match=r"Only vLLM has /tokenize.*'served' and 'local'") as caught:
        asked.rerank(RANKING)
    assert "model name" not in str(caught.value)


def test_a_tokenize_that_lacks_the_model_is(fake_server):
    """vLLM's own 404 is about the model."""
    fake_server.reply(404, {"error": {"message": "The model `x` does not exist.", "code": 404}})
    asked = ThinkReranker(fake_server.url, model="x", mode="pointwise", images=False, max_retries=0)
    with pytest.raises(ServerStatusError, match="Check the model name"):
        asked.rerank(RANKING)


@pytest.mark.parametrize("body", [{"detail": "Unexpected fields in the request: {'x'}"}, b""])
def test_a_422_says_what_to_pass(fake_server, body):
    fake_server.reply(422, body)
    with pytest.raises(ServerStatusError, match=r"answered 422.*structured='none'.*extra=") as caught:
        answerer(fake_server.url).answer(RANKING.query, RANKING)
    assert ("Unexpected fields" in str(caught.value)) == bool(body)


def scores(*values: float) -> dict:
    results = [{"relevance_score": value, "index": n, "document": None} for n, value in enumerate(values)]
    return {"object": "rerank", "results": results, "model": "m", "usage": {"total_tokens": 9}}


@pytest.mark.parametrize("probe", [True, False])
@pytest.mark.parametrize("at_root", [True, False])
def test_a_reranker_is_found_at_the_root_and_under_v1(fake_server, at_root, probe):
    fake_server.reply(404, NOT_FOUND)  # /v1/models: the context's length stays unknown
    if not at_root:  # neither the form of documents nor TEI's of texts
        fake_server.reply(404, NOT_FOUND).reply(404, NOT_FOUND)
    for reply in ([scores(0.9, 0.1)] if probe else []) + [scores(0.2), scores(0.8)]:
        fake_server.reply(200, reply)
    asked = ThinkReranker(
        fake_server.url, model="m", mode="served", images=False, max_retries=0, probe=probe, max_concurrency=1
    )
    ranking = asked.rerank(RANKING)
    assert [candidate.id for candidate in ranking] == ["Leave", "Trams"]
    paths = [request.path for request in fake_server.requests[1:]]
    right = "/rerank" if at_root else "/v1/rerank"
    assert paths == ([] if at_root else ["/rerank"] * 2) + [right] * (3 if probe else 2)


def test_a_server_without_a_reranker_says_so(fake_server):
    for _ in range(4):
        fake_server.reply(404, NOT_FOUND)
    asked = ThinkReranker(fake_server.url, model="m", mode="served", images=False, max_retries=0)
    with pytest.raises(ServerStatusError, match=re.escape(f"{fake_server.url}/v1/rerank answered 404")):
        asked.rerank(RANKING)


def test_nothing_follows_on_the_connection_of_a_failed_list(fake_server):
    """`transformers serve` hangs up after an error of its own; a request on that connection would be lost."""
    fake_server.reply(500, b"Internal Server Error").chat(SAID)
    answerer(fake_server.url, model=None).answer(RANKING.query, RANKING)
    models, chat = fake_server.requests
    assert models.headers["connection"] == "close"
    assert models.port != chat.port
