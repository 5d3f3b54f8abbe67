"""The compressed meta-token embedder on a vLLM server, and its client; importing this imports nothing.

In the server's process, as plugins that vLLM finds by their entry points (``pyproject.toml``)::

    plugin.py       what vLLM asks for: registers the model's class, names the input and output processor
    configuration.py  vLLM's configuration of a checkpoint
    vllm_rows.py    meta tokens and their rows in a pooling model of vLLM, whatever the backbone
    vllm_qwen3_vl.py, vllm_internvl.py  the backbones with compression
    processor.py    a request's inputs to prompts, the rows of the meta tokens to a reply
    checkpoint.py   the checkpoint without its weights: prompts, picture sizes, fingerprint

In the caller's process, without torch::

    embedder.py     `ServedMLLMEmbedder`

and between them `wire.py`. What is not here is not needed twice: compression, prompts, picture sizes and
fingerprint are those of the local `mmrag.MLLMEmbedder`.
"""
