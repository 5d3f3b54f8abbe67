"""What the README and the migration guide show is run here, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models.fake_chat_models import FakeListChatModel, FakeMessagesListChatModel
from langchain_core.messages import AIMessage

from langchain_mmrag import MMRagThinkRerank, MMRagVectorStore

README = Path(__file__).parents[1] / "README.md"
GUIDE = Path(__file__).parents[3] / "docs" / "langchain-migration.md"


def snippets(file: Path) -> dict[str, str]:
    """Python blocks of a file, by the word after ``python`` or their number."""
    found = re.findall(r"^```python ?([\w-]*)\n(.*?)^```", file.read_text("utf-8"), re.M | re.S)
    return {name or str(number): code for number, (name, code) in enumerate(found, 1)}


def run(file: Path, name: str, names: dict) -> None:
    exec(compile(snippets(file)[name], f"{file.name}: {name}", "exec"), names)


def kinds(message) -> list[str]:
    """Kinds of a message's blocks; handlers of the host see images in OpenAI's form."""
    return [block["type"].removesuffix("_url") for block in message.content]


class Prompts(BaseCallbackHandler):
    """What a chat model was shown."""

    def __init__(self) -> None:
        self.seen = []

    def on_chat_model_start(self, serialized, messages, **kwargs):
        self.seen.append(messages[0])


@pytest.fixture
def prompts() -> Prompts:
    return Prompts()


@pytest.fixture
def model(prompts):
    """The host's own fake chat model."""
    return FakeListChatModel(responses=["It was $287.9 million [1], see also [2]."], callbacks=[prompts])


def test_readme_example_runs(model, prompts, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"model": model}
    run(README, "1", names)
    lines = [line for line in snippets(README)["1"].splitlines() if line.strip()]
    assert len(lines) <= 10
    assert [block["type"] for block in names["pages"]] == ["text", "image"] * 3
    run(README, "2", names)
    printed = capsys.readouterr().out.splitlines()
    run(README, "3", names)
    names["store"].close()
    assert len(names["best"]) == 3 and "287.9" in names["best"][0].page_content
    assert kinds(prompts.seen[0][0]) == ["text", "image"] * 3 + ["text"]
    assert len(printed) == 2 and all(
        line.startswith("harbor-annual-report-2024.pdf, page") for line in printed
    )
    assert any("[[" in line for line in printed)  # boxes


needs_guide = pytest.mark.skipif(not GUIDE.is_file(), reason="the guide is in the repository only")


@needs_guide
def test_five_lines_take_a_chroma_store_over(tmp_path, monkeypatch) -> None:
    pytest.importorskip("langchain_chroma", reason="the extra 'test' has it")
    monkeypatch.chdir(tmp_path)
    names = {"embeddings": DeterministicFakeEmbedding(size=8)}
    run(GUIDE, "before", names)
    texts = ["Cats purr.", "Dogs bark.", "Owls hoot at night."]
    documents = [Document(text, metadata={"n": n}) if n else Document(text) for n, text in enumerate(texts)]
    ids = names["chroma"].add_documents(documents)
    run(GUIDE, "five-lines", names)
    assert len(snippets(GUIDE)["five-lines"].splitlines()) == 5
    found = names["retriever"].invoke("Which animal barks?")
    assert (found[0].page_content, found[0].metadata, found[0].id) == ("Dogs bark.", {"n": 1}, ids[1])
    assert {document.id for document in found} == set(ids)
    run(GUIDE, "pages", names)
    assert Path(names["page"].metadata["image_path"]).is_file() and names["page"].metadata["page"] >= 2
    names["store"].close()


@needs_guide
def test_pictures_come_into_the_chain(model, prompts, samples: MMRagVectorStore) -> None:
    names = {"model": model, "store": samples, "retriever": samples.as_retriever(search_kwargs={"k": 2})}
    question = "What were the net sales of Environmental Sensing in 2024?"
    run(GUIDE, "chain", names)
    assert names["chain"].invoke(question).startswith("It was $287.9 million")
    assert isinstance(prompts.seen[-1][0].content, str)

    run(GUIDE, "pictures", names)
    assert names["chain"].invoke(question).startswith("It was $287.9 million")
    system, pages, human = prompts.seen[-1]
    assert kinds(pages) == ["text", "image"] * 2
    assert (system.type, human.content) == ("system", question)

    run(GUIDE, "citations", names)
    message = names["chain"].invoke(question)
    documents = names["retriever"].invoke(question)
    first, second = message.content_blocks[0]["annotations"]
    assert [c["extras"]["document_id"] for c in (first, second)] == [d.id for d in documents[:2]]
    assert any("bbox" in citation["extras"] for citation in (first, second))
    assert kinds(prompts.seen[-1][1]) == ["text", "image"] * 3


@needs_guide
def test_what_was_found_is_judged_again(model, prompts, samples: MMRagVectorStore) -> None:
    names = {"model": model, "store": samples, "retriever": samples.as_retriever()}
    question = "What were the net sales of Environmental Sensing in 2024?"
    run(GUIDE, "chain", names)
    run(GUIDE, "pictures", names)
    run(GUIDE, "rerank", names)
    assert names["chain"].invoke(question).content.startswith("It was $287.9 million")
    assert kinds(prompts.seen[-1][1]) == ["text", "image"] * 3
    run(GUIDE, "served", names)
    assert names["reranker"].think_tokens == 256
    pytest.importorskip("langchain_classic", reason="the extra 'test' has it")
    names["reranker"] = MMRagThinkRerank(top_n=3)
    run(GUIDE, "classic", names)
    assert len(names["retriever"].invoke(question)) == 3


class Structured(FakeMessagesListChatModel):
    """A fake model that answers by a tool call, as those with structured output do."""

    def bind_tools(self, tools, **kwargs):
        return self


@needs_guide
def test_recipes(model, prompts, samples: MMRagVectorStore, capsys) -> None:
    names = {"model": model, "store": samples, "retriever": samples.as_retriever()}
    question = "What were the net sales of Environmental Sensing in 2024?"
    for name in ("chain", "pictures", "citations", "streaming"):
        run(GUIDE, name, names)
    assert capsys.readouterr().out == "It was $287.9 million [1], see also [2]."
    citations = names["message"].content_blocks[0]["annotations"]
    assert [c["extras"]["document_id"] for c in citations] == [d.id for d in names["documents"][:2]]

    run(GUIDE, "tool", names)
    call = {"name": "search_pages", "args": {"question": question}, "id": "1", "type": "tool_call"}
    said = names["search_pages"].invoke(call)
    assert "[1] harbor-annual-report-2024.pdf, page" in said.content and "box: [[" in said.content
    assert [document.id for document in said.artifact] == [d.id for d in names["documents"]]

    names["model"] = Structured(
        responses=[
            AIMessage(
                "",
                tool_calls=[
                    {"name": "CitedAnswer", "args": {"answer": "It fell.", "pages": [2, 9]}, "id": "1"}
                ],
            )
        ]
    )
    run(GUIDE, "structured", names)
    answer, pages = names["cited_pages"](question)
    assert (answer, [page.id for page in pages]) == ("It fell.", [names["documents"][1].id])

    pytest.importorskip("langchain_classic", reason="the extra 'test' has it")
    names["model"] = FakeListChatModel(responses=[question])
    run(GUIDE, "history", names)
    history = [("human", question), ("ai", "It was $287.9 million.")]
    found = names["aware"].invoke({"input": "And then?", "chat_history": history})
    assert [document.id for document in found] == [d.id for d in names["documents"]]


@needs_guide
def test_a_graph_streams_and_cites(model, samples: MMRagVectorStore, capsys) -> None:
    pytest.importorskip("langgraph", reason="the extra 'test' has it")
    names = {"model": model, "store": samples, "retriever": samples.as_retriever(), "__name__": __name__}
    for name in ("chain", "pictures", "citations", "langgraph"):
        run(GUIDE, name, names)
    assert capsys.readouterr().out == "It was $287.9 million [1], see also [2]."  # each piece once
    documents = names["retriever"].invoke(names["question"])
    citations = names["message"].content_blocks[0]["annotations"]
    assert [c["extras"]["document_id"] for c in citations] == [d.id for d in documents[:2]]
    assert any("bbox" in citation["extras"] for citation in citations)


@needs_guide
def test_no_snippet_is_left_unrun() -> None:
    shown = ["before", "five-lines", "pages", "chain", "pictures", "citations", "rerank", "served", "classic"]
    recipes = ["streaming", "langgraph", "tool", "history", "structured"]
    assert list(snippets(GUIDE)) == shown + recipes
    assert list(snippets(README)) == ["1", "2", "3"]
