"""`LocalReranker` for searches that meet the same pages again: each is read once for a question."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mmrag.rerank.local import LocalReranker, all_verdicts
from mmrag.rerank.protocol import Judged
from mmrag.types import Candidate, Query


class RememberingReranker(LocalReranker):
    """A `LocalReranker` that keeps the score of every question and page text it has read.

    A score depends on these two alone, so a ranking is the same as without the memory, whatever was asked
    before. The memory holds two numbers and a digest a pair and goes with the object. Not for several
    threads at once: a page might be read twice.

    Args:
        like: the settings.

    Attributes:
        read: pages that were read together with a question so far.
        remembered: scores that came from memory instead.
    """

    def __init__(self, like: LocalReranker) -> None:
        super().__init__(
            like.model_dir,
            alpha=like.alpha,
            depth=like.depth,
            window=like.window,
            stride=like.stride,
            windows=like.windows,
            threads=like.threads,
        )
        self.read = 0
        self.remembered = 0
        self._scores: dict[bytes, float | None] = {}  # None: a page without text

    def judge(self, query: Query, candidates: Sequence[Candidate]) -> Judged:
        """See `LocalReranker.judge`; the verdicts' own seconds are 0."""
        keys = [_key(query, candidate) for candidate in candidates]
        missing = {key: one for key, one in zip(keys, candidates, strict=True) if key not in self._scores}
        said = super().judge(query, list(missing.values()))
        for key, verdict in zip(missing, said, strict=True):
            self._scores[key] = verdict.score if verdict.read else None
        self.read += len(missing)
        self.remembered += len(keys) - len(missing)
        scores = {place: self._scores[key] for place, key in enumerate(keys)}
        best = {place: score for place, score in scores.items() if score is not None}
        return Judged(all_verdicts(best, [0.0] * len(keys)), said.notes)


def _key(query: Query, candidate: Candidate) -> bytes:
    """Digest of a question and a page's text; the zero byte keeps the two apart."""
    words = (query.text or "").encode(errors="surrogatepass")
    text = candidate.record.text.encode(errors="surrogatepass")
    return hashlib.sha256(hashlib.sha256(words).digest() + text).digest()
