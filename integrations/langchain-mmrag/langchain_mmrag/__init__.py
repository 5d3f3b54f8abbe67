"""mmrag in the words of LangChain: embeddings, vector store, retriever, reranker, loader, content blocks."""

from langchain_mmrag._citations import message_citations
from langchain_mmrag._scores import document_scores
from langchain_mmrag.content_blocks import cite_documents, documents_to_content_blocks
from langchain_mmrag.document_compressors import MMRagThinkRerank
from langchain_mmrag.document_loaders import MMRagPDFLoader
from langchain_mmrag.embeddings import MMRagEmbeddings
from langchain_mmrag.retrievers import MMRagRetriever
from langchain_mmrag.vectorstores import MMRagVectorStore

__all__ = [
    "MMRagEmbeddings",
    "MMRagPDFLoader",
    "MMRagRetriever",
    "MMRagThinkRerank",
    "MMRagVectorStore",
    "cite_documents",
    "document_scores",
    "documents_to_content_blocks",
    "message_citations",
]
