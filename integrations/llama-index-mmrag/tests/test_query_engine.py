"""`MMRagCitationQueryEngine`: one page, one source, with its boxes."""

from __future__ import annotations

import json
import re

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.bridge.pydantic import BaseModel, PrivateAttr
from llama_index.core.llms import ChatMessage, ChatResponse, MockLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import QueryEngineTool

from llama_index.query_engine.mmrag import MMRagCitationQueryEngine, cited_nodes, evidence_picture
from llama_index.readers.mmrag import MMRagPDFReader
from llama_index.retrievers.mmrag import MMRagRetriever
from mmrag import Answer, Citation, ExtractiveAnswerer

QUESTION = "Who is the harbor master of Bremen?"


class SaysCitation(MockLLM):
    """The host's mock with a large window; its answer cites the first source, and it keeps what it read."""

    _read: list = PrivateAttr(default_factory=list)

    @property
    def metadata(self):
        return super().metadata.model_copy(update={"context_window": 100_000})

    def chat(self, messages, **kwargs):
        self._read.extend(messages)
        return super().chat(messages, **kwargs)

    def _generate_text(self, length: int) -> str:
        return "Ada Lovelace [1]."


@pytest.fixture
def engine(qa) -> MMRagCitationQueryEngine:
    return MMRagCitationQueryEngine.from_args(qa, similarity_top_k=3)


def cited(response) -> list[NodeWithScore]:
    return [node for node in response.source_nodes if "bbox" in node.metadata]


def first_cited(response) -> NodeWithScore:
    """The page of the first quote, which is the best."""
    node = response.source_nodes[int(re.search(r"\[(\d+)\]", response.response)[1]) - 1]
    assert node in cited(response)
    return node


def test_it_is_a_query_engine_of_the_host():
    assert BaseQueryEngine.__name__ in [base.__name__ for base in MMRagCitationQueryEngine.__mro__]


def test_an_answer_quotes_the_page_and_boxes_it(engine):
    response = engine.query(QUESTION)
    assert "Ada Lovelace" in response.response
    page = first_cited(response)
    number = response.source_nodes.index(page) + 1
    assert f"[{number}]" in response.response
    assert page.metadata["page_label"] == "3"
    assert "Ada Lovelace" in page.metadata["quote"]
    (x0, y0, x1, y1), *_ = json.loads(page.metadata["bbox"])
    # written at 72, 90 on a page of 612 x 792: the box is round the line
    assert x0 == pytest.approx(72 / 612, abs=0.01)
    assert y0 < 90 / 792 < y1 + 0.01
    assert y1 - y0 < 0.05
    assert x1 > x0 + 0.2
    assert response.metadata[page.node_id] == page.metadata


def test_marks_count_pages_not_quotes(qa):
    """Three quotes on two pages: mmrag numbers the quotes, LlamaIndex its sources."""

    class Quotes:
        def answer(self, query, ranking):
            first, second = (candidate.id for candidate in ranking)
            citations = tuple(
                Citation(number, id, f"quote {number}", ((0.1 * number, 0.0, 0.5, 0.1),))
                for number, id in ((1, second), (2, second), (3, first))
            )
            return Answer("See [2]: one [1] two [2], three [3].", citations, ranking)

    engine = MMRagCitationQueryEngine.from_args(qa, answerer=Quotes(), similarity_top_k=2)
    response = engine.query(QUESTION)
    assert response.response == "See [2]: one [2] two [2], three [1]."
    assert response.source_nodes[1].metadata["quote"] == "quote 1 … quote 2"
    assert json.loads(response.source_nodes[1].metadata["bbox"]) == [[0.1, 0, 0.5, 0.1], [0.2, 0, 0.5, 0.1]]
    assert response.source_nodes[0].metadata["quote"] == "quote 3"


def test_nothing_that_answers_is_said_so(engine):
    response = engine.query("What colour is the moon of Jupiter?")
    assert "seems to answer this question" in response.response
    assert cited(response) == []


def test_retrieved_nodes_are_unharmed(engine):
    nodes = engine.retrieve(QueryBundle(QUESTION))
    before = [node.to_dict() for node in nodes]
    engine.synthesize(QueryBundle(QUESTION), nodes)
    assert [node.to_dict() for node in nodes] == before


async def test_async_equals_sync(engine):
    assert await engine.aquery(QUESTION) == engine.query(QUESTION)


async def test_async_leaves_the_loop_free(gated, stays_free):
    from mmrag import DocumentQA
    from mmrag.index import MemoryIndex

    qa = DocumentQA(MemoryIndex.for_embedder(gated), embedder=gated)
    qa.add_texts(["The door is red."], ids=["r"])
    response = await stays_free(MMRagCitationQueryEngine.from_args(qa).aquery("Which colour is the door?"))
    assert response.source_nodes[0].node_id == "r"


async def test_streaming_gives_the_same_words(qa):
    whole = MMRagCitationQueryEngine.from_args(qa).query(QUESTION)
    engine = MMRagCitationQueryEngine.from_args(qa, streaming=True)
    response = engine.query(QUESTION)
    assert isinstance(response, StreamingResponse)
    assert "".join(response.response_gen) == whole.response
    assert response.source_nodes == whole.source_nodes
    response = await engine.aquery(QUESTION)
    assert isinstance(response, AsyncStreamingResponse)
    assert "".join([piece async for piece in response.async_response_gen()]) == whole.response


def test_events_in_order(engine, events):
    engine.query(QUESTION)
    assert [event for event in events if not event.startswith("Embedding")] == [
        "QueryStartEvent",
        "RetrievalStartEvent",
        "RetrievalEndEvent",
        "SynthesizeStartEvent",
        "SynthesizeEndEvent",
        "QueryEndEvent",
    ]


# ---- with a language model -------------------------------------------------------------------------


def test_a_model_is_shown_each_page_once_with_its_picture(qa):
    llm = SaysCitation(is_chat_model=True, max_tokens=5)
    response = MMRagCitationQueryEngine.from_args(qa, llm, similarity_top_k=2).query(QUESTION)
    blocks = [block for message in llm._read for block in message.blocks]
    text = "\n".join(block.text for block in blocks if block.block_type == "text")
    assert [block.block_type for block in blocks].count("image") == 2
    assert text.count("Source 1 (harbor.pdf, page 3):") == 1
    assert text.count("Source 2 (") == 1
    assert "Source 3" not in text
    assert len(response.source_nodes) == 2
    assert response.response.startswith("Ada Lovelace [1]")
    assert cited(response) == [response.source_nodes[0]]  # what it does not cite has no evidence
    assert response.source_nodes[0].get_content().startswith("The harbor master")


async def test_a_model_streams_and_runs_async(qa):
    llm = MockLLM(is_chat_model=True, max_tokens=3)
    engine = MMRagCitationQueryEngine.from_args(qa, llm, streaming=True)
    response = engine.query(QUESTION)
    assert isinstance(response, StreamingResponse)
    assert "".join(response.response_gen).strip() == "text text text"
    assert cited(response)
    response = await engine.aquery(QUESTION)
    assert isinstance(response, AsyncStreamingResponse)
    assert "".join([piece async for piece in response.async_response_gen()]).strip() == "text text text"
    whole = MMRagCitationQueryEngine.from_args(qa, llm)
    assert str(await whole.aquery(QUESTION)) == str(whole.query(QUESTION))


class CitedAnswer(BaseModel):
    """An answer and the sources that it is from."""

    answer: str
    pages: list[int]


class SaysFields(MockLLM):
    """A chat model that answers in JSON, citing as it is told to."""

    _pages: list[int] = PrivateAttr(default_factory=list)

    def chat(self, messages, **kwargs):
        said = CitedAnswer(answer="Ada Lovelace.", pages=self._pages).model_dump_json()
        return ChatResponse(message=ChatMessage(role="assistant", content=said))

    async def achat(self, messages, **kwargs):
        return self.chat(messages)


@pytest.mark.parametrize("pages", [[1], [2, 1], [2, 9], []])
async def test_an_answer_with_fields_cites_by_number(qa, pages):
    llm = SaysFields(is_chat_model=True)
    llm._pages = pages
    engine = MMRagCitationQueryEngine.from_args(qa, llm.as_structured_llm(CitedAnswer), similarity_top_k=2)
    for response in (engine.query(QUESTION), await engine.aquery(QUESTION)):
        assert response.response == CitedAnswer(answer="Ada Lovelace.", pages=pages)
        shown = [response.source_nodes[n - 1] for n in pages if n <= 2]
        assert cited_nodes(response) == shown
        assert [node for node in cited(response) if node not in shown] == []
        assert (response.source_nodes[0] in cited(response)) == (1 in pages)  # the page that has the answer


def test_a_model_for_text_alone(qa):
    response = MMRagCitationQueryEngine.from_args(qa, MockLLM(), multimodal=False).query(QUESTION)
    assert "Source 1 (harbor.pdf, page 3):" in str(response)


# ---- over other retrievers -------------------------------------------------------------------------


def test_boxes_over_any_vector_store(pdfs, tmp_path, embedder):
    """Chunks in the host's own store: a page is one source again, and its boxes are read again."""
    from llama_index.embeddings.mmrag import MMRagEmbedding

    pages = MMRagPDFReader(image_dir=tmp_path).load_data(pdfs)
    chunks = []
    for page in pages:
        half = len(page.text) // 2
        for text in (page.text[:half], page.text[half:]):
            chunks.append(TextNode(text=text, metadata=page.metadata))
    index = VectorStoreIndex(chunks, embed_model=MMRagEmbedding(embedder))
    engine = MMRagCitationQueryEngine.from_args(index, similarity_top_k=10)
    response = engine.query(QUESTION)
    assert len(response.source_nodes) == 5
    page = first_cited(response)
    assert page.metadata["page_label"] == "3"
    assert evidence_picture(page).size[1] > 1000
    engine.close()


def test_a_file_that_changed_costs_the_boxes_only(pdfs, tmp_path, make_pdf, embedder, caplog):
    from llama_index.embeddings.mmrag import MMRagEmbedding

    path = make_pdf(tmp_path / "a.pdf", ["Ada Lovelace is the harbor master of Bremen."])
    pages = MMRagPDFReader(image_dir=tmp_path).load_data(path)
    index = VectorStoreIndex(pages, embed_model=MMRagEmbedding(embedder))
    make_pdf(path, ["Something else."])
    response = MMRagCitationQueryEngine.from_args(index).query(QUESTION)
    assert "Ada Lovelace" in response.response
    assert cited(response) == []
    assert "gone or changed" in caplog.text


def test_texts_beside_pages_are_sources_without_boxes(qa):
    nodes = [
        NodeWithScore(node=TextNode(id_="t", text="Grace Hopper is harbor master of Kiel."), score=1.0),
        *MMRagRetriever(qa, similarity_top_k=1).retrieve(QUESTION),
    ]
    engine = MMRagCitationQueryEngine.from_args(qa)
    response = engine.synthesize(QueryBundle("Who is harbor master of Kiel?"), nodes)
    assert "Grace Hopper" in response.response
    assert "[1]" in response.response
    assert "quote" in response.source_nodes[0].metadata
    assert "bbox" not in response.source_nodes[0].metadata


def test_postprocessors_and_tools_of_the_host(qa):
    engine = MMRagCitationQueryEngine.from_args(
        qa, node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=1000.0)]
    )
    assert str(engine.query(QUESTION)) == "No page was found for this question."
    tool = QueryEngineTool.from_defaults(MMRagCitationQueryEngine.from_args(qa), name="pages")
    assert "Ada Lovelace" in str(tool("Who is the harbor master of Bremen?"))


def test_another_answerer_of_the_package(qa):
    engine = MMRagCitationQueryEngine.from_args(qa, answerer=ExtractiveAnswerer(candidates=1))
    assert "Ada Lovelace" in str(engine.query(QUESTION))


# ---- pictures and bad input ------------------------------------------------------------------------


def test_the_evidence_is_drawn(engine):
    page = first_cited(engine.query(QUESTION))
    plain = page.model_copy(deep=True)
    del plain.node.metadata["bbox"]
    assert evidence_picture(page).tobytes() != evidence_picture(plain).tobytes()
    with pytest.raises(ValueError, match="a node must have a picture"):
        evidence_picture(TextNode(text="x"))


def test_bad_input_is_refused(qa, tmp_path):
    with pytest.raises(ValueError, match="an index or a retriever, got neither or both"):
        MMRagCitationQueryEngine.from_args()
    with pytest.raises(ValueError, match="an llm or an answerer writes the answer, got both"):
        MMRagCitationQueryEngine.from_args(qa, MockLLM(), answerer=ExtractiveAnswerer())
    with pytest.raises(ValueError, match="must be a chat model, got MockLLM"):
        MMRagCitationQueryEngine.from_args(qa, MockLLM())
    with pytest.raises(TypeError, match=r"got DocumentQA. Use MMRagCitationQueryEngine\.from_args"):
        MMRagCitationQueryEngine(qa)
    with pytest.raises(ValueError, match="options go with an index, got"):
        MMRagCitationQueryEngine.from_args(retriever=MMRagRetriever(qa), similarity_top_k=2)
    with pytest.raises(ValueError, match="a query must have text or an image"):
        MMRagCitationQueryEngine.from_args(qa).query(" ")


def test_a_picture_that_is_gone_is_named(qa, tmp_path):
    (node,) = MMRagRetriever(qa, similarity_top_k=1).retrieve(QUESTION)
    gone = node.model_copy(deep=True)
    gone.node.image_path = str(tmp_path / "gone.png")
    engine = MMRagCitationQueryEngine.from_args(qa, MockLLM(is_chat_model=True))
    with pytest.raises(FileNotFoundError, match=r"the picture of .* must be a file, got .*gone.png"):
        engine.synthesize(QueryBundle(QUESTION), [gone])
