"""The training recipe: from any multimodal language model to a compressed, nested retriever. Needs torch."""
