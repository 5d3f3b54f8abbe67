"""Pixels and tokens to vectors: backbones, compression, meta tokens, heads, checkpoints. Needs torch."""
