"""Records each mode judging three pages of ours: ``python tests/rerank/recorded/record_judge.py URL [MODE]``.

URL is a server of Qwen2.5-Coder-1.5B-Instruct (``make llm``). A proxy between it and `ThinkReranker` keeps
each reply, in the order asked (one request at a time), with the scores that came of them, in ``judge.json``.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from mmrag.rerank.reranker import ThinkReranker
from mmrag.rerank.traces import TraceWriter
from mmrag.types import Candidate, Page, Query, Ranking, Record, Source

FILE = Path(__file__).with_name("judge.json")
QUESTION = "When does the last ferry to Lunna leave on Sundays?"
TEXTS = (
    "Recipe for four: 300 g of flour, two eggs, a pinch of salt. Bake for 40 minutes.",
    "Ferry to Lunna. Weekdays: 7:10, 12:40, 18:25. Sundays: 9:30 and, the last one, 16:55.",
    "The harbour of Lunna was built in 1887. Its lighthouse is open to visitors in summer.",
)
ANSWER = 1  # of TEXTS
MODES: dict[str, dict[str, Any]] = {
    "pointwise": {},
    "pointwise 64": {"think_tokens": 64},
    "pointwise 64, a third": {"think_tokens": 64, "think_share": 0.34},
    "listwise": {},
    "identifiers": {},
    "likelihood": {},
    "ecrr": {},
    "qar": {"think_tokens": 32},
}


def ranking() -> Ranking:
    """Return the pages in the order of `TEXTS`."""
    source = Source("a" * 64, "pdf", "a.pdf")
    candidates = []
    for number, text in enumerate(TEXTS):
        page = Page(f"p{number}", "d", number, str(number + 1), text, (), (64, 48), source)
        candidates.append(Candidate(Record(page.id, None, text, page=page), -float(number), number + 1))
    return Ranking(Query(QUESTION), tuple(candidates))


def reranker(url: str, name: str) -> ThinkReranker:
    """Return the reranker of a recording: text alone, one request at a time, nothing from a cache."""
    mode = name.partition(" ")[0]
    common: dict[str, Any] = {"api_key": "", "max_concurrency": 1, "timeout": 1800.0}
    if mode in ("ecrr", "qar"):
        common["traces"] = TraceWriter(url, images=False, max_tokens=64, **common)
    return ThinkReranker(url, mode=mode, images=False, **MODES[name], **common)


def without_folder(reply: Any) -> Any:
    """Return a reply without the folder that a server names as its model's root."""
    for model in reply.get("data", ()) if isinstance(reply, dict) else ():
        model["root"] = Path(model["root"]).name if model.get("root") else None
    return reply


class Proxy:
    """Forwards requests to a server and keeps path and reply of each."""

    def __init__(self, target: str) -> None:
        self.kept: list[tuple[str, Any]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                method = "POST" if self.command == "POST" else "GET"
                reply = httpx.request(method, target + self.path, content=body, timeout=1800.0, headers=JSON)
                proxy.kept.append((self.path, without_folder(reply.json())))
                self.send_response(reply.status_code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply.content)))
                self.end_headers()
                self.wfile.write(reply.content)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()


JSON = {"Content-Type": "application/json"}


def main(url: str, *names: str) -> None:
    """Record some modes, or all; those that are not named stay as they are."""
    recordings = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    for name in names or MODES:
        proxy = Proxy(url)
        result = reranker(proxy.url, name).rerank(ranking())
        proxy.close()
        found = {candidate.id: candidate.verdict for candidate in result}
        verdicts = [found[candidate.id] for candidate in ranking()]
        recordings[name] = {
            "scores": [verdict.score for verdict in verdicts],
            "thoughts": [verdict.thought for verdict in verdicts],
            "replies": proxy.kept,
        }
        print(name, recordings[name]["scores"], len(proxy.kept), "replies")
        FILE.write_text(json.dumps(recordings), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
