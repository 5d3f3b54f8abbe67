"""Multimodal retrieval for document question answering."""
