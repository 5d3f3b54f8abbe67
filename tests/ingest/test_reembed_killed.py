"""A run of `reembed` that is killed at a moment nobody chose is gone on with, and ends as any other."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from mmrag import DocumentQA, ReaderSettings, TextEmbedder
from mmrag.index import ChromaIndex
from mmrag.ingest.reembed import reembed

READER = ReaderSettings(ocr="off", workers=1)
NOTES = 120
KILLED = """
import os, signal, sys, threading
from mmrag import ReaderSettings, TextEmbedder
from mmrag.ingest.reembed import reembed

old, new, weights, call, seconds = sys.argv[1:]

class Dying(TextEmbedder):
    calls = 0

    def encode_document(self, documents, **how):
        self.calls += 1
        if self.calls == int(call):
            threading.Timer(float(seconds), os.kill, (os.getpid(), signal.SIGKILL)).start()
        return super().encode_document(documents, **how)

embedder = Dying(weights, window=12, stride=8)
reembed(old, new, embedder=embedder, reader=ReaderSettings(ocr="off", workers=1))
"""


def content(path: Path) -> dict[str, tuple[str, int]]:
    """Text and number of rows of each record, by its id."""
    index = ChromaIndex.open(path, None, read_only=True)
    found = {record.id: (record.text, len(record.matrix)) for record in index.get(index.ids(), matrices=True)}
    index.close()
    return found


def test_a_killed_run_is_gone_on_with_and_nothing_is_lost_or_doubled(tmp_path, embedder, text_encoder):
    chance = random.Random(7)
    old, new = tmp_path / "old", tmp_path / "new"
    with DocumentQA.open(old, embedder=embedder, reader=READER) as qa:
        qa.add_texts([f"Note {n} on tea." for n in range(NOTES)], ids=[f"n{n}" for n in range(NOTES)])
    before = content(old)
    for _ in range(3):
        arguments = [str(old), str(new), str(text_encoder), "2", f"{chance.uniform(0, 0.05):.4f}"]
        ended = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True)
        assert content(old) == before
        if ended.returncode == 0:  # it was quicker than its end
            assert content(new).keys() == before.keys()
            return
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    other = TextEmbedder(text_encoder, window=12, stride=8)
    report = reembed(old, new, embedder=other, reader=READER)
    assert report.records == NOTES and report.resumed > 0
    reembed(old, tmp_path / "whole", embedder=other, reader=READER)
    assert content(new) == content(tmp_path / "whole")
    assert list(content(new)) == list(before)
