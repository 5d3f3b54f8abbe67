"""``mmrag serve``: a vLLM server for a model, until it is stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from mmrag.cli.command import EXIT_OK, UsageError
from mmrag.cli.common import OutputOptions
from mmrag.cli.visible import complain, visible
from mmrag.errors import ServeError

if TYPE_CHECKING:
    from mmrag.serving.vllm.plan import ServePlan
    from mmrag.serving.vllm.process import ServerProcess

INTERVAL = 15.0
"""Seconds between two lines of a start that is watched through a pipe."""

_USES = {
    "answer": 'mmrag ask "..." --answerer-url {url}',
    "rerank": "POST {url}/rerank",
    "embed": "mmrag index FOLDER --embedder-url {url}",
}

_server_option = partial(Option, rich_help_panel="Server")
_start_option = partial(Option, rich_help_panel="Start")


@dataclass(frozen=True)
class ServeOptions:
    """What the server is for, where it listens and how it is started."""

    mode: Annotated[
        Literal["rerank", "embed", "answer"] | None,
        _server_option(
            "--mode",
            help="rerank: /rerank by a model that is a reranker; embed: vectors, nested ones of a checkpoint "
            "of ours; answer: chat, for answers and thinking rerankers. (by the model's configuration)",
        ),
    ] = None
    host: Annotated[str, _server_option("--host", metavar="HOST", help="Address it listens on.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, _server_option("--port", min=0, max=65535, metavar="N", help="0: any free one.")] = (
        8000
    )
    python: Annotated[
        str | None,
        _start_option(
            "--python", metavar="PATH", help="A Python that has vLLM ($MMRAG_VLLM_PYTHON, else this one)."
        ),
    ] = None
    log: Annotated[
        Path | None, _start_option("--log", metavar="FILE", help="The server's output (a temporary file).")
    ] = None
    timeout: Annotated[
        int, _start_option("--timeout", min=1, metavar="S", help="Seconds to get ready in.")
    ] = 1800
    print_only: Annotated[bool, _start_option("--print", help="Print the command and start nothing.")] = False


class _StopSignal(BaseException):
    """The end of the command by a signal; no `Exception`, so that no handler of errors takes it."""

    def __init__(self, number: int) -> None:
        self.number = number


def serve(
    model: Annotated[str, Argument(metavar="MODEL", help="Model folder, or id on a model hub.")],
    output: OutputOptions,
    options: ServeOptions,
    extra: Annotated[
        list[str] | None, Argument(metavar="-- VLLM FLAGS", help="Passed to vLLM unchanged.")
    ] = None,
) -> int:
    """Serve until a signal ends it; the exit code is 128 + the signal's number.

    Raises:
        ServeError: the server cannot be started, or ended by itself.
    """
    if extra and not extra[0].startswith("-"):
        raise UsageError(f"flags for vLLM must follow --, got {extra[0]!r}.")
    plan = make_plan(model, options, extra or [])
    if options.print_only:
        output.write(_data(plan), plan.shell(), indent=None)
        return EXIT_OK
    for note in (*plan.notes, *thread_notes(plan)):
        _note(f"Note: {note}.")
    _note(plan.shell())
    return _run(plan, options, output, extra or [])


def make_plan(model: str, options: ServeOptions, extra: list[str]) -> ServePlan:
    """Plan the server.

    Raises:
        ServeError: no such model folder, or no vLLM.
    """
    from mmrag.serving.vllm.facts import fetch_facts, find_vllm, model_folder, read_facts
    from mmrag.serving.vllm.plan import plan_server
    from mmrag.serving.vllm.process import free_port

    folder = model_folder(model)
    python = find_vllm(options.python or os.environ.get("MMRAG_VLLM_PYTHON") or sys.executable)
    facts = read_facts(folder) if folder else fetch_facts(model, python.path)
    return plan_server(
        model,
        facts,
        python,
        mode=options.mode,
        host=options.host,
        port=options.port or free_port(options.host),
        extra=extra,
    )


def thread_notes(plan: ServePlan) -> list[str]:
    """Return a line where ``OMP_NUM_THREADS``, set for something else, would slow the server down.

    vLLM takes it over on a processor, like every variable of the user's.
    """
    from mmrag.machine import default_threads, usable_cores

    threads, cores = default_threads(), usable_cores()
    if "VLLM_CPU_KVCACHE_SPACE" not in plan.environment or threads >= cores:
        return []
    return [
        f"OMP_NUM_THREADS={threads} holds for the server, too: it computes on {threads} of {cores} "
        "processors; unset it for all"
    ]


def _run(plan: ServePlan, options: ServeOptions, output: OutputOptions, extra: list[str]) -> int:
    """Start the server, report when it is ready, and wait for a signal."""
    from mmrag.serving.vllm.plan import KEY_VARIABLE, flag_value
    from mmrag.serving.vllm.process import ServerProcess

    key = plan.environment.get(KEY_VARIABLE) or flag_value(extra, "--api-key") or ""
    server = ServerProcess(plan, options.log, api_key=key)
    start = _StartReport(server)
    try:
        with _signals(), server:
            seconds = server.wait_ready(options.timeout, start)
            start.clear()
            _report_ready(server, plan, seconds, output)
            server.join()
            raise ServeError(server.exit_message("by itself"))
    except _StopSignal as stop:
        start.clear()
        _note("Stopped.")
        if options.log is None and server.log is not None:
            server.log.unlink(missing_ok=True)  # nothing went wrong that it could explain
        return 128 + stop.number


@contextmanager
def _signals() -> Iterator[None]:
    """Raise `_StopSignal` at Ctrl-C, SIGTERM and a closed terminal, also while one of them is handled."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _StopSignal(number)

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


class _StartReport:
    """A report of the start: one line, written over, on a terminal; a line now and then elsewhere."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._live = sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, seconds: float) -> None:
        if self._live:
            last = self._server.tail(1)
            sys.stderr.write(f"\r\x1b[K{visible(f'Starting, {seconds:.0f} s  {last}')[:100]}")
        elif seconds >= self._next:
            self._next = seconds + INTERVAL
            complain(f"Starting, {seconds:.0f} s; its log: {self._server.log}")
        sys.stderr.flush()

    def clear(self) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")


def _data(plan: ServePlan) -> dict[str, object]:
    return {
        "url": plan.url,
        "model": plan.model,
        "mode": plan.mode,
        "command": plan.shown_command(),
        "environment": plan.shown_environment(),
    }


def _report_ready(server: ServerProcess, plan: ServePlan, seconds: float, output: OutputOptions) -> None:
    use = _USES[plan.mode].format(url=plan.url)
    text = f"Ready after {seconds:.0f} s: {plan.url} serves {plan.model}. Ctrl-C stops it.\n  {use}"
    data = {**_data(plan), "log": str(server.log), "seconds": round(seconds, 1)}
    output.write(data, text, indent=None)


def _note(text: str) -> None:
    complain(text)
