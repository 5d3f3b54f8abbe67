"""Stages that train the language-modelling head: restore, reason, rerank."""
