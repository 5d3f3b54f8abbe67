"""Embedders: pages and questions to vectors. The protocol in `base`, one file or folder per implementation."""
