"""Does text in the order of the layout models, without running heads, raise retrieval?

    python benchmarks/structure_text.py PACK [--documents 10]

Reads the documents of PACK with the most answerable questions a page, with ``structure="full"``, and makes
two indexes in memory with the default embedder: of the text as it is read, and of the text of the blocks in
their order, running heads, feet and watermarks left out. Prints nDCG@5 of the default search over these
documents and within the right one, and the paired difference with its 95 % interval. About 3 s a page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from arguments import pack_arguments, parse_pack, write_json

from mmrag import DocumentQA, DocumentReader, MemoryIndex, Page, ReaderSettings
from mmrag.documents import InputDocument, discover
from mmrag.evaluation.metrics import ndcg
from mmrag.evaluation.pack import Pack, Question, load_pack
from mmrag.ingest.records import page_record
from mmrag.models.load import default_embedder

BATCH = 16


def main() -> None:
    parser = pack_arguments(__doc__, index=False)
    parser.add_argument("--documents", type=int, default=10)
    options = parse_pack(parser)
    if options.small:
        options.documents = 1
    pack = load_pack(options.pack)
    pages = read_pages(pack, options.documents)
    questions = [q for q in pack.questions if q.answerable and set(q.docs) <= set(pages)]
    print(f"{len(pages)} documents, {sum(map(len, pages.values()))} pages, {len(questions)} questions")
    as_read = measure(pages, questions, lambda page: page.text)
    by_blocks = measure(pages, questions, block_text)
    result = {}
    for scope in as_read:
        difference = np.array(by_blocks[scope]) - np.array(as_read[scope])
        draws = np.random.default_rng(0).choice(difference, (2000, len(difference))).mean(1)
        low, high = np.percentile(draws, [2.5, 97.5])
        result[scope] = {
            "as read": np.mean(as_read[scope]),
            "by blocks": np.mean(by_blocks[scope]),
            "interval": [low, high],
        }
        print(
            f"{scope}: {np.mean(as_read[scope]):.3f} -> {np.mean(by_blocks[scope]):.3f}, "
            f"{difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
        )
    write_json(options, result)


def read_pages(pack: Pack, most: int) -> dict[str, list[Page]]:
    """Read the documents with the most answerable questions a page, with their structure."""
    counts = Counter(question.docs[0] for question in pack.questions if question.answerable)
    with DocumentReader(ReaderSettings(structure="full")) as reader:
        documents = [
            item
            for item in discover(pack.documents_path)
            if isinstance(item, InputDocument) and item.source.name in counts
        ]
        documents.sort(key=lambda item: reader.info(item).total_pages / counts[item.source.name])
        return {
            item.source.name: [page for page in reader.pages(item) if isinstance(page, Page)]
            for item in documents[:most]
        }


def block_text(page: Page) -> str:
    """Join the blocks of a page that are not repeated on others."""
    return "\n\n".join(block.text for block in page.blocks or () if block.text and not block.is_running)


def measure(
    pages: dict[str, list[Page]], questions: list[Question], text_of: Callable[[Page], str]
) -> dict[str, list[float]]:
    """Return nDCG@5 of every question over all documents, and within its own."""
    embedder = default_embedder()
    index = MemoryIndex.for_embedder(embedder)
    for name, document_pages in pages.items():
        texts = [replace(page, text=text_of(page)) for page in document_pages]
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            pairs = zip(batch, embedder.encode_document(batch), strict=True)
            index.add([page_record(page, matrix, (name,), {}, "") for page, matrix in pairs])
    with DocumentQA(index, embedder=embedder) as qa:
        return {
            "whole": [score(qa, question, None) for question in questions],
            "within": [score(qa, question, {"file_name": question.docs[0]}) for question in questions],
        }


def score(qa: DocumentQA, question: Question, filter: dict[str, str] | None) -> float:
    """Return nDCG@5 of one question."""
    ranking = qa.search(question.question, k=5, filter=filter, rerank=False)
    places = [(candidate.page.source.name, candidate.page.number) for candidate in ranking if candidate.page]
    return ndcg(places, question.evidence, 5)


if __name__ == "__main__":
    main()
