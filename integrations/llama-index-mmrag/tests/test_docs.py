"""The steps of ``docs/llama-index.md``, run as written there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from llama_index.core.llms import ChatMessage, ChatResponse, MockLLM
from llama_index.core.schema import TextNode

from llama_index.embeddings.mmrag import MMRagEmbedding

PAGE = Path(__file__).parents[3] / "docs" / "llama-index.md"


class SaysFields(MockLLM):
    """A chat model that answers in JSON."""

    def chat(self, messages, **kwargs):
        said = '{"answer": "They were $287.9 million.", "pages": [1]}'
        return ChatResponse(message=ChatMessage(role="assistant", content=said))


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is in the repository, not in the sdist")
def test_the_steps_run_in_order(tmp_path, monkeypatch, embedder, capsys):
    monkeypatch.chdir(tmp_path)
    given = {
        "nodes": [TextNode(id_="mine", text="The tide comes in twice a day.", metadata={"kind": "note"})],
        "embed_model": MMRagEmbedding(embedder),
        "llm": MockLLM(is_chat_model=True),
        "chat_model": SaysFields(is_chat_model=True),
    }
    blocks = re.findall(r"```python (\S+)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert [name for name, _ in blocks] == [
        "before",
        "five-lines",
        "pages",
        "engine",
        "pictures",
        "citations",
        "quoting",
        "rerank",
        "served",
        "streaming",
        "tool",
        "structured",
        "history",
    ]
    assert len(blocks[1][1].strip().splitlines()) == 5
    for _, code in blocks:
        exec(compile(code, str(PAGE), "exec"), given)
    kept = given["store"].get_nodes(["mine"])[0]
    assert kept.text == given["nodes"][0].text
    assert given["page"].metadata["file_name"] == "harbor-annual-report-2024.pdf"
    assert given["page"].node.image_resource.path.is_file()
    assert "287.9" in capsys.readouterr().out
    assert list(tmp_path.glob("page-*.png"))
    assert len(given["response"].source_nodes) == 3
    assert "287.9" in given["response"].source_nodes[0].text
    assert given["reranker"].think_tokens == 256
    assert "287.9" in given["text"] and "bbox" in given["pages"][0].metadata
    said = given["search"].call("What were the net sales of Environmental Sensing in 2024?").content
    assert "287.9" in said and "harbor-annual-report-2024.pdf, page " in said and ", box [[" in said
    assert given["answer"].startswith("They were")
    assert given["cited"] == given["fields"].source_nodes[:1] and "bbox" in given["cited"][0].metadata
    assert given["reply"].source_nodes
    given["store"].close()
