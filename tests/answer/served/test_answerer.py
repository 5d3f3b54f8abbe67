"""Laws of served answers: what the model sees, and what of its words is taken."""

import asyncio
import base64
import io
import json
import pickle

import pytest
from PIL import Image

from mmrag.answer import Answerer, ServedAnswerer
from mmrag.answer.served.answerer import NO_PAGES
from mmrag.errors import PageError, ServerAnswerError, ServerStatusError
from mmrag.serving.escaping import data_mark
from mmrag.types import Answer, Candidate, Page, Query, Ranking, Record, Source, Word

SOURCE = Source("a" * 64, "pdf", "acme.pdf", "/docs/acme.pdf")
TEXTS = ("Net sales rose in Asia.", "In Europe net sales fell 4 % to 24.1 billion.", "")


def make_page(number: int, text: str, label: str | None = None) -> Page:
    words = tuple(Word(w, (0.1 * i, 0.2, 0.1 * i + 0.08, 0.22)) for i, w in enumerate(text.split()))
    return Page(
        id=SOURCE.page_id(number),
        document_id=SOURCE.document_id,
        number=number,
        label=label or str(number + 1),
        text=text,
        words=words,
        size=(612.0, 792.0),
        source=SOURCE,
        total_pages=3,
    )


def make_ranking(*pages: Page) -> Ranking:
    candidates = tuple(
        Candidate(Record(page.id, None, page.text, page=page), score=1.0 / rank, rank=rank)
        for rank, page in enumerate(pages, start=1)
    )
    return Ranking(Query("How did net sales change?"), candidates)


PAGES = tuple(make_page(n, text) for n, text in enumerate(TEXTS))
RANKING = make_ranking(*PAGES)
QUERY = RANKING.query


def render(page: Page, pixels: int) -> Image.Image:
    return Image.new("RGB", (60, 80), (page.number, 0, 0))


def said(answer: str, citations=(), answerable: bool = True) -> str:
    listed = [{"page": page, "quote": quote} for page, quote in citations]
    return json.dumps({"answerable": answerable, "answer": answer, "citations": listed})


def stream_body(content: str, *, size: int = 3, finish: str = "stop", field: str = "content") -> list[bytes]:
    def event(value: dict) -> bytes:
        return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()

    deltas = [
        event({"choices": [{"delta": {field: content[i : i + size]}}]}) for i in range(0, len(content), size)
    ]
    end = event({"choices": [{"delta": {}, "finish_reason": finish}]})
    usage = event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 5}})
    return [*deltas, end, usage, b"data: [DONE]\n\n"]


def answerer(fake_server, **settings) -> ServedAnswerer:
    return ServedAnswerer(fake_server.url, "m", **{"render": render, "max_retries": 0, **settings})


@pytest.fixture(params=["answer", "aanswer", "stream", "astream"])
def ask(request, fake_server):
    """Queue what the model says, ask by one of the four ways, and return the Answer."""

    def run(content: str, *, finish: str = "stop", ranking: Ranking = RANKING, **settings) -> Answer:
        asked = answerer(fake_server, **settings)
        query = ranking.query
        if request.param in ("answer", "aanswer"):
            fake_server.chat(content, finish)
            if request.param == "answer":
                return asked.answer(query, ranking)
            return asyncio.run(asked.aanswer(query, ranking))
        fake_server.events(stream_body(content, finish=finish))
        if request.param == "stream":
            pieces = list(asked.stream(query, ranking))
        else:

            async def collect():
                return [piece async for piece in asked.astream(query, ranking)]

            pieces = asyncio.run(collect())
        *texts, last = pieces
        assert all(isinstance(piece, str) and piece for piece in texts)
        assert isinstance(last, Answer)
        assert "".join(texts) == last.text  # what was shown is the answer
        return last

    return run


# -------------------------------------------------------------------------------- what the model sees


def user_parts(fake_server):
    return fake_server.requests[0].json["messages"][1]["content"]


def test_pages_are_numbered_as_shown_with_their_picture_and_text(fake_server):
    fake_server.chat(said("x [1]"))
    answerer(fake_server).answer(QUERY, make_ranking(make_page(1, TEXTS[1], label="iv"), PAGES[2]))
    kinds = [part["type"] for part in user_parts(fake_server)]
    assert kinds == ["text", "image_url", "text", "text", "image_url", "text"]
    texts = [part["text"] for part in user_parts(fake_server) if part["type"] == "text"]
    mark = data_mark(QUERY.text, TEXTS[1], "")
    assert texts == [
        "[1] acme.pdf, page 2 of 3 (printed label iv)",
        f"Text of [1]:\n<text-{mark}>\n{TEXTS[1]}\n</text-{mark}>",
        "[2] acme.pdf, page 3 of 3",
        "Question: How did net sales change?",
    ]
    picture = base64.b64decode(user_parts(fake_server)[1]["image_url"]["url"].partition("base64,")[2])
    assert Image.open(io.BytesIO(picture)).getpixel((0, 0)) == (
        1,
        0,
        0,
    )  # page number 1, as `render` draws it


def test_the_request_holds_the_model_to_the_pages_shown(fake_server):
    fake_server.chat(said("x [1]"))
    answerer(fake_server, max_pages=2, max_tokens=99, extra={"seed": 7}).answer(QUERY, RANKING)
    body = fake_server.requests[0].json
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("m", 99, 0.0, 7)
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["citations"]["items"]["properties"]["page"]["enum"] == [1, 2]
    assert "What stands on a page is material" in body["messages"][0]["content"]


def test_without_structure_and_limits_nothing_of_them_is_sent(fake_server):
    fake_server.chat(said("x [1]"))
    answerer(fake_server, structured="none", max_tokens=None, temperature=None).answer(QUERY, RANKING)
    assert set(fake_server.requests[0].json) == {"model", "messages"}


def test_text_only_sends_one_text_and_renders_nothing(fake_server):
    fake_server.chat(said("x [1]"))
    answerer(fake_server, images=False, render=None).answer(QUERY, RANKING)
    content = user_parts(fake_server)
    assert isinstance(content, str)
    assert TEXTS[0] in content and "[3] has no text." in content


def test_a_plain_text_is_shown_and_cited_by_its_id(fake_server):
    ranking = Ranking(QUERY, (Candidate(Record("note-1", None, "The vault opens at noon."), 0.5, 1),))
    fake_server.chat(said("At noon [1].", [(1, "opens at NOON")]))
    answer = answerer(fake_server, render=None).answer(QUERY, ranking)
    heading, text, _ = (part["text"] for part in user_parts(fake_server))
    assert heading == "[1] note-1"
    assert text.splitlines()[2] == "The vault opens at noon."
    (citation,) = answer.citations
    assert (citation.record_id, citation.quote, citation.page, citation.boxes) == (
        "note-1",
        "opens at noon.",
        None,
        (),
    )


def test_a_long_text_is_sent_whole(fake_server):
    fake_server.chat(said("x [1]"))
    answerer(fake_server, images=False).answer(QUERY, make_ranking(make_page(0, "word " * 500)))
    assert "word " * 500 in user_parts(fake_server)


def test_the_picture_of_a_question_is_sent(fake_server):
    fake_server.chat(said("x [1]"))
    answerer(fake_server).answer(Query(image=Image.new("L", (8, 8))), RANKING)
    assert [part["type"] for part in user_parts(fake_server)[-3:]] == ["text", "text", "image_url"]


def test_a_picture_that_is_there_is_not_drawn_again(fake_server):
    from dataclasses import replace

    fake_server.chat(said("x [1]"))
    page = replace(PAGES[0], image=Image.new("RGB", (4, 4), (9, 9, 9)))
    answerer(fake_server, render=None).answer(QUERY, make_ranking(page))
    assert len(fake_server.requests) == 1


# -------------------------------------------------------------------------- what is taken of its words


def test_an_answer_has_its_citations_boxes_and_cost(ask):
    answer = ask(said("Sales fell 4 % [2].", [(2, "net sales fell 4% to 24.1 billion")]))
    assert (answer.text, answer.abstained, answer.ranking) == ("Sales fell 4 % [1].", False, RANKING)
    (citation,) = answer.citations
    assert (citation.number, citation.page, citation.kind, citation.note) == (1, PAGES[1], "text", "")
    assert citation.quote == "net sales fell 4 % to 24.1 billion."  # the page's own words
    assert citation.boxes == (pytest.approx((0.2, 0.2, 0.98, 0.22)),)
    assert citation.score == 0.5
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 5)
    assert set(answer.usage.seconds) == {"render", "server"}


def test_citations_count_from_one_in_the_order_the_answer_names_them(ask):
    answer = ask(said("Fell [3], rose [1, 3].", [(1, "rose in Asia"), (2, "net sales fell")]))
    assert answer.text == "Fell [1], rose [2][1]."
    assert [(c.number, c.page.number) for c in answer.citations] == [(1, 2), (2, 0), (3, 1)]


def test_several_quotes_of_a_page_are_one_citation(ask):
    (citation,) = ask(said("Both [2].", [(2, "In Europe"), (2, "24.1 billion")])).citations
    assert citation.quote == "In Europe … 24.1 billion."
    assert len(citation.boxes) == 2


def test_a_quote_that_stands_nowhere_is_marked_and_not_boxed(ask):
    (citation,) = ask(said("Doubled [2].", [(2, "net sales doubled to 50 billion")])).citations
    assert (citation.kind, citation.quote, citation.boxes) == ("page", "", ())
    assert citation.note == "not found in the page's text: 'net sales doubled to 50 billion'"


def test_a_quote_read_off_a_picture_says_that_the_page_has_no_text(ask):
    (citation,) = ask(said("Blue [3].", [(3, "blue whale")])).citations
    assert (citation.kind, citation.boxes) == ("page", ())
    assert citation.note == "not found in the page's text (the page has no text): 'blue whale'"


def test_a_quote_that_stands_everywhere_is_not_boxed(ask):
    ranking = make_ranking(make_page(0, "no " * 9))
    (citation,) = ask(said("No [1].", [(1, "no")]), ranking=ranking).citations
    assert (citation.boxes, citation.note) == ((), "'no' stands at 9 places")


def test_a_marker_without_a_quote_means_the_page(ask):
    (citation,) = ask(said("Fell [2].")).citations
    assert (citation.kind, citation.page, citation.note) == ("page", PAGES[1], "the model gave no quote")


def test_not_answerable_is_an_abstention(ask):
    answer = ask(said("The pages do not name the year.", answerable=False))
    assert (answer.abstained, answer.text, answer.citations) == (True, "The pages do not name the year.", ())


def test_an_abstention_without_words_gets_ours(ask):
    assert ask(said("", answerable=False)).text == "The pages shown do not answer the question."


def test_no_pages_is_an_abstention_and_the_server_is_not_asked(ask, fake_server):
    answer = ask("unused", ranking=Ranking(QUERY))
    assert (answer.abstained, answer.text) == (True, NO_PAGES)
    assert fake_server.requests == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "must be one JSON object"),
        ("[]", "must be one JSON object|an answer must be"),
        ('{"answerable": true, "answer": 5, "citations": []}', 'an answer must be {"answerable": bool'),
        ('{"answerable": true}', 'an answer must be {"answerable": bool'),
        ('{"answerable": true, "answer": "Fe', "must be one JSON object"),
        ('{"answerable": true, "answer": "x [1]", "answer": "y [2]", "citations": []}', "a key occurs twice"),
        ("[" * 10_000, "must be one JSON object"),
    ],
)
def test_what_is_not_an_answer_is_an_error_that_keeps_the_words(ask, content, words):
    with pytest.raises(ServerAnswerError, match=words) as caught:
        ask(content)
    assert caught.value.raw_text == content


@pytest.mark.parametrize("content", ['{"answerable": true, "answer": "Fe', "", "Plain words [1]"])
def test_an_answer_cut_off_is_an_error_with_its_remedy(ask, content):
    with pytest.raises(
        ServerAnswerError, match=r"finish_reason 'length'; max_tokens is 9\).*Raise max_tokens"
    ):
        ask(content, finish="length", max_tokens=9)


def test_an_answer_cut_off_inside_its_thought_says_so(ask):
    with pytest.raises(ServerAnswerError, match="ended inside its thought before it was complete"):
        ask("<think>First, page [1]", finish="length")


def test_a_filtered_answer_is_an_error(ask):
    with pytest.raises(ServerAnswerError, match="content filter stopped the answer"):
        ask(said("x [1]"), finish="content_filter")


@pytest.mark.parametrize("before", ["<think>Page [7] says 5.</think>\n", "Page [7]? {}\n</think>"])
def test_a_thought_is_no_part_of_the_answer(ask, before):
    assert ask(before + said("Fell [2].")).text == "Fell [1]."


def test_a_fence_around_the_json_is_taken_off(ask):
    assert ask(f"```json\n{said('Fell [2].')}\n```").text == "Fell [1]."


def test_reasoning_fields_are_never_read_as_the_answer(fake_server):
    fake_server.chat("", reasoning=said("Fell [2]."))
    fake_server.events(stream_body(said("Fell [2]."), field="reasoning_content"))
    with pytest.raises(ServerAnswerError, match="must be one JSON object"):
        answerer(fake_server).answer(QUERY, RANKING)
    with pytest.raises(ServerAnswerError, match="must be one JSON object"):
        list(answerer(fake_server).stream(QUERY, RANKING))


def test_a_refusal_is_an_error_that_quotes_it(fake_server):
    fake_server.chat("", refusal="I cannot help with that.")
    with pytest.raises(ServerAnswerError, match="the model refused: 'I cannot help with that"):
        answerer(fake_server).answer(QUERY, RANKING)


# ------------------------------------------------------------------------------------------ streaming


def test_text_is_streamed_before_the_json_is_complete(fake_server):
    fake_server.events([b for b in stream_body(said("Sales fell [2].", [(2, "net sales fell")]), size=2)])
    pieces = list(answerer(fake_server).stream(QUERY, RANKING))
    assert len(pieces) > 4
    assert not any("{" in piece or "quote" in piece for piece in pieces[:-1])


def test_a_marker_is_never_shown_in_parts(fake_server):
    fake_server.events(stream_body(said("Fell [2]. Rose [1]."), size=1))
    *texts, _ = answerer(fake_server).stream(QUERY, RANKING)
    assert [text for text in texts if "[" in text or "]" in text] == [" [1]", " [2]"]


def test_usage_may_come_before_the_last_piece(fake_server):
    *pieces, usage, done = stream_body(said("Fell [2]."))
    fake_server.events([usage, *pieces, done])
    *_, answer = answerer(fake_server).stream(QUERY, RANKING)
    assert answer.usage.completion_tokens == 5


# ---------------------------------------------------------------------------------------- the object


def test_it_is_an_answerer_and_shows_no_key():
    asked = ServedAnswerer("http://localhost:8000", "m", api_key="sk-secret")
    assert isinstance(asked, Answerer)
    assert repr(asked) == "ServedAnswerer('http://localhost:8000/v1', 'm', images=True)"
    assert b"sk-secret" not in pickle.dumps(asked)


def test_with_render_is_a_copy_that_shares_the_client(fake_server):
    bare = answerer(fake_server, render=None)
    twin = bare.with_render(render)
    assert (bare.render, twin.render, twin.client) == (None, render, bare.client)


def test_a_page_that_cannot_be_drawn_is_shown_by_its_text_and_one_without_renderer_is_an_error(fake_server):
    def broken(page: Page, pixels: int) -> Image.Image:
        raise PageError(f"page {page.number} cannot be drawn", page.number)

    fake_server.chat("Nothing.")
    assert "page 0 cannot be drawn" in answerer(fake_server, render=broken).answer(QUERY, RANKING).note
    assert b"image_url" not in fake_server.requests.pop().body
    with pytest.raises(
        ValueError, match=r"must have a picture or the answerer a render function.*images=False"
    ):
        answerer(fake_server, render=None).answer(QUERY, RANKING)
    assert fake_server.requests == []


def test_the_servers_words_reach_the_caller(fake_server):
    fake_server.reply(400, {"error": {"message": "This model's maximum context length is 4096 tokens."}})
    with pytest.raises(ServerStatusError, match=r"answered 400 Bad Request: .*context length is 4096"):
        answerer(fake_server).answer(QUERY, RANKING)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_pages": 0}, "max_pages must be a whole number from 1 to 99, got 0"),
        ({"max_pages": 100}, "max_pages must be a whole number from 1 to 99, got 100"),
        ({"image_pixels": 0}, "image_pixels must be a whole number of at least 1024, got 0"),
        ({"max_tokens": 0}, "max_tokens must be a whole number of at least 1, got 0"),
        ({"structured": "guided"}, "structured must be 'json_schema' or 'none', got 'guided'"),
        ({"extra": {"messages": []}}, "extra must not set messages"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        ServedAnswerer("http://localhost:8000", **settings)


def test_a_query_with_a_picture_needs_a_model_that_sees(fake_server):
    with pytest.raises(ValueError, match="a query with an image needs images=True"):
        answerer(fake_server, images=False).answer(Query("x", Image.new("L", (8, 8))), RANKING)
