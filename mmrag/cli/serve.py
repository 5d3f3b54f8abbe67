"""What ``mmrag serve`` does."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mmrag.errors import ServeError
from mmrag.serving.vllm.facts import fetch_facts, find_vllm, model_folder, read_facts
from mmrag.serving.vllm.plan import ServePlan, given, plan_server
from mmrag.serving.vllm.process import ServerProcess, free_port

_SAY_EVERY = 15.0
_USES = {
    "answer": 'mmrag ask "..." --answerer-url {url}',
    "rerank": "POST {url}/rerank",
    "embed": "POST {url}/v1/embeddings",
}


class _Stopped(BaseException):
    """A signal asked us to end; like KeyboardInterrupt no error, so nothing that catches errors sees it."""

    def __init__(self, number: int) -> None:
        self.number = number


def run_serve(options: argparse.Namespace) -> int:
    """Serve until a signal ends it; returns 128 + the signal's number.

    Raises:
        ServeError: the server cannot be started, or ended by itself.
    """
    plan = plan_of(options)
    if options.print_only:
        _say(_data(plan), plan.shell(), options)
        return 0
    for note in plan.notes:
        _tell(f"Note: {note}.")
    _tell(plan.shell())
    key = given(options.extra, "--api-key") or ""
    server = ServerProcess(plan, options.log, api_key=key)
    waiting = _Waiting(server)
    try:
        with _signals(), server:
            seconds = server.wait_ready(options.timeout, waiting)
            waiting.done()
            use = _USES[plan.mode].format(url=plan.url)
            text = f"Ready after {seconds:.0f} s: {plan.url} serves {plan.model}. Ctrl-C stops it.\n  {use}"
            _say({**_data(plan), "log": str(server.log), "seconds": round(seconds, 1)}, text, options)
            server.join()
            raise ServeError(server.exit_message("by itself"))
    except _Stopped as stopped:
        waiting.done()
        _tell("Stopped.")
        if options.log is None and server.log is not None:
            server.log.unlink(missing_ok=True)  # nothing went wrong that it could tell
        return 128 + stopped.number


def plan_of(options: argparse.Namespace) -> ServePlan:
    """The plan that the options ask for.

    Raises:
        ServeError: no such model folder, or no vLLM.
    """
    folder = model_folder(options.model)
    python = find_vllm(options.python or os.environ.get("MMRAG_VLLM_PYTHON") or sys.executable)
    facts = read_facts(folder) if folder else fetch_facts(options.model, python.path)
    return plan_server(
        options.model,
        facts,
        python,
        mode=options.mode,
        host=options.host,
        port=options.port or free_port(options.host),
        extra=options.extra,
    )


@contextmanager
def _signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal raise `_Stopped`; while one is handled, another one does too."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped(number)

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


class _Waiting:
    """Shows that we wait: a line that is written over at a terminal, a line now and then elsewhere."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._live = sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, seconds: float) -> None:
        if self._live:
            last = self._server.tail(1)
            sys.stderr.write(f"\r\x1b[K{f'Starting, {seconds:.0f} s  {last}'[:100]}")
        elif seconds >= self._next:
            self._next = seconds + _SAY_EVERY
            sys.stderr.write(f"Starting, {seconds:.0f} s; its log: {self._server.log}\n")
        sys.stderr.flush()

    def done(self) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")


def _data(plan: ServePlan) -> dict[str, object]:
    return {
        "url": plan.url,
        "model": plan.model,
        "mode": plan.mode,
        "command": list(plan.command),
        "environment": dict(plan.environment),
    }


def _say(data: dict[str, object], text: str, options: argparse.Namespace) -> None:
    sys.stdout.write((json.dumps(data, ensure_ascii=False) if options.json else text) + "\n")
    sys.stdout.flush()  # someone may wait for this line


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
