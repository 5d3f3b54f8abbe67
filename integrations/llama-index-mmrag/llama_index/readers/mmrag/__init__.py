"""mmrag's document reader for LlamaIndex."""

from llama_index.readers.mmrag.base import MMRagPDFReader

__all__ = ["MMRagPDFReader"]
