"""Laws of a chat: what is searched, what is noted, what is stored; blocking, awaited and in pieces."""

from __future__ import annotations

import json

import pytest

from mmrag import DocumentQA, MemoryIndex, ReaderSettings, ServedAnswerer
from mmrag.conversation.history import MOST_MESSAGES, checked_messages, load_history, save_history
from mmrag.conversation.rewriting import KEPT_NOTE, StandaloneQuestion
from mmrag.errors import ServerAnswerError
from mmrag.types import Answer

TEXTS = {
    "sales-2023": "Harbor pumps: in 2023 we sold 12 pumps in Galway.",
    "sales-2022": "Harbor pumps: in 2022 we sold 9 pumps in Galway.",
    "tea": "In 2022 green tea was steeped at 80 degrees.",
}
FIRST, SECOND = "How many pumps were sold in Galway in 2023?", "And in 2022?"


@pytest.fixture
def qa(embedder):
    settings = ReaderSettings(ocr="off", workers=1)
    index = MemoryIndex.for_embedder(embedder)
    with DocumentQA(index, embedder=embedder, reader=settings, reranker=None) as qa:
        qa.add_texts(list(TEXTS.values()), ids=list(TEXTS))
        yield qa


class Rewriter:
    """Rewrites as told, and says what it was given."""

    def __init__(self, text: str) -> None:
        self.text, self.calls = text, []

    def rewrite(self, question, history):
        self.calls.append((question, list(history)))
        return StandaloneQuestion(self.text)

    async def arewrite(self, question, history):
        return self.rewrite(question, history)


def test_the_rewritten_question_is_what_is_searched(qa) -> None:
    rewriter = Rewriter("Temperature of green tea?")
    chat = qa.chat(rewriter=rewriter)
    first = chat.ask(FIRST)
    assert (first.standalone, rewriter.calls) == ("", [])
    second = chat.ask(SECOND)
    assert second.standalone == second.ranking.query.text == "Temperature of green tea?"
    assert second.ranking[0].id == "tea"
    assert rewriter.calls == [(SECOND, chat.messages[:2])]


def test_without_a_server_words_are_kept_and_it_is_said(qa) -> None:
    chat = qa.chat(k=2)
    chat.ask(FIRST)
    answer = chat.ask(SECOND)
    assert answer.ranking[0].id == "sales-2022"
    assert answer.standalone == "And in 2022? pumps sold Galway"
    assert KEPT_NOTE in answer.note
    assert len(answer.ranking) == 2


def test_messages_are_plain_and_go_on_after_saving(qa, tmp_path) -> None:
    chat = qa.chat()
    chat.ask(FIRST)
    second = chat.ask(SECOND)
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 2
    assert chat.messages[2] == {"role": "user", "content": SECOND, "standalone": second.standalone}
    for name in ("talk.jsonl", "talk.json"):
        chat.save(tmp_path / name)
        again = qa.chat(load_history(tmp_path / name))
        assert again.messages == chat.messages
    assert json.loads((tmp_path / "talk.json").read_text()) == chat.messages
    assert "pumps sold Galway" in again.ask("And in 2021?").standalone


async def test_every_way_to_ask_gives_the_same(qa) -> None:
    chats = [qa.chat() for _ in range(4)]
    for question in (FIRST, SECOND):
        answers = [chats[0].ask(question), await chats[1].aask(question)]
        given = list(chats[2].stream(question))
        answers.append(given[-1])
        agiven = [piece async for piece in chats[3].astream(question)]
        answers.append(agiven[-1])
        assert "".join(given[:-1]) == "".join(agiven[:-1]) == answers[0].text
        assert len({(answer.text, answer.standalone, answer.note) for answer in answers}) == 1
    assert all(chat.messages == chats[0].messages for chat in chats)


def test_a_question_that_fails_leaves_the_messages(qa, fake_server) -> None:
    fake_server.chat("no question at all")
    chat = qa.chat(rewriter=fake_server.url)
    chat.ask(FIRST)
    before = list(chat.messages)
    fake_server._replies.insert(0, {"status": 200, "body": {"data": [{"id": "m"}]}})
    with pytest.raises(ServerAnswerError, match="a rewritten question must be"):
        chat.ask(SECOND)
    assert chat.messages == before


def test_a_served_answerer_rewrites_too(qa, fake_server) -> None:
    told = {"answerable": True, "answer": "12 [1]", "citations": [{"page": 1, "quote": "12 pumps"}]}
    fake_server.chat(json.dumps(told)).chat('{"question": "How many pumps in Galway in 2022?"}')
    fake_server.chat(json.dumps(told))
    chat = qa.chat(answerer=ServedAnswerer(fake_server.url, "m", images=False))
    chat.ask(FIRST)
    answer = chat.ask(SECOND)
    assert answer.standalone == "How many pumps in Galway in 2022?"
    assert answer.note.count(KEPT_NOTE) == 0
    assert "How many pumps in Galway in 2022?" in fake_server.requests[2].json["messages"][1]["content"]


def test_a_chat_is_bounded() -> None:
    messages = [{"role": "user", "content": str(number)} for number in range(1_000)]
    assert checked_messages(messages) == messages[-MOST_MESSAGES:]


@pytest.mark.parametrize(
    ("history", "error"),
    [
        ("text", TypeError),
        ({"role": "user", "content": "x"}, TypeError),
        (["text"], TypeError),
        ([{"role": "user"}], ValueError),
        ([{"role": "tool", "content": "x"}], ValueError),
        ([{"role": "user", "content": "x", "standalone": 3}], ValueError),
    ],
)
def test_what_is_no_history_is_refused(qa, history, error) -> None:
    with pytest.raises(error, match=r"must be|must have"):
        qa.chat(history)


@pytest.mark.parametrize("text", ["[1]", '{"role": "user"}\n', "{", '[{"role": "user", "content": 1}]'])
def test_a_file_that_is_no_history_is_refused(tmp_path, text: str) -> None:
    (tmp_path / "talk.json").write_text(text)
    with pytest.raises(ValueError, match=r"talk\.json|must have"):
        load_history(tmp_path / "talk.json")


def test_a_failed_save_leaves_the_file(tmp_path) -> None:
    path = tmp_path / "talk.jsonl"
    save_history([{"role": "user", "content": "x"}], path)
    with pytest.raises(TypeError):
        save_history([{"role": "user", "content": "y"}, {"role": "user", "content": object()}], path)
    assert load_history(path) == [{"role": "user", "content": "x"}]
    assert [each.name for each in tmp_path.iterdir()] == ["talk.jsonl"]


def test_a_turn_is_one_tree(qa, fake_server) -> None:
    assert isinstance(qa.chat().ask(FIRST), Answer)
    with pytest.raises(ValueError, match="a query must have text"):
        qa.chat().ask("  ")
