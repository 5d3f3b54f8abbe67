"""The shipped models, loaded while the command imports the rest of the package."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor


def load_ahead(*, embedder: bool) -> None:
    """Begin to load the models that a question needs, in threads beside the main one.

    Reading weights and building a graph wait for no Python, so that a second core does them meanwhile. Of a
    failure nothing is said here: whoever needs the model loads it once more, and says it.

    Args:
        embedder: load mmrag-mini, too, beside the cross-encoder.
    """
    pool = ThreadPoolExecutor(2, thread_name_prefix="mmrag-loading")
    pool.submit(_load_cross_encoder)
    if embedder:
        pool.submit(_load_mini)
    pool.shutdown(wait=False)


def _load_cross_encoder() -> None:
    from mmrag.embedders.cross_encoder import shipped_encoder

    shipped_encoder().load()


def _load_mini() -> None:
    from mmrag.embedders.mini.embedder import MiniEmbedder

    MiniEmbedder().prepare()
