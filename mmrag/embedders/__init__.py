"""Embedders: pages and questions to vectors. `base` is the protocol; one file or folder each."""
