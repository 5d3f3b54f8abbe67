"""Sessions of onnxruntime: the one place that opens a graph, and the rule by which its providers are chosen.

A provider is what computes the nodes of a graph: the processor, a graphics card, OpenVINO. Decisions taken
here:

* *The processor is the default*, also where onnxruntime lists more. The shipped weights are int8 with
  activations quantised at run time (``DynamicQuantizeLinear``, ``MatMulInteger`` of uint8 by int8): the CPU
  has fast kernels for them, CUDA multiplies int8 by int8 only, so that those nodes go back to the processor,
  each with a copy. Rows, verdicts and the figures of the docs were made on it. On the same core OpenVINO
  takes 3 to 4 times as long for the encoders, and half as long for OCR, whose graphs are float32
  (``docs/lab-log.md``, "ONNX providers").
* *Others are asked for*: by argument (``providers=``), else by `PROVIDERS_VARIABLE`. ``"auto"`` takes those
  that onnxruntime lists and that start here, see `detected_providers`.
* *What is asked for is used, or it is an error.* onnxruntime goes on with the processor where a library or a
  device is missing, and says so in its log alone; here a session without a provider that was named is not
  opened.
* *The CPU stands last*, for the nodes that no other provider takes.
* *Rows of all providers are of one model*: a fingerprint does not depend on them, and an index made by one
  is searched by another. They differ by what quantising at run time rounds: numbers of OpenVINO's rows by at
  most .055, cosine at least .98, and the same page came first for all of 30 questions (same place).

A graph runs on one core a call: work is parallel over inputs, so results do not depend on threads. A fork
waits for the runs of other threads (`RunGate`).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mmrag.forks import FORK_SECONDS, ForkOwner, follow_forks, new_condition

logger = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
AUTO = "auto"
PROVIDERS_VARIABLE = "MMRAG_ONNX_PROVIDERS"
"""Environment variable with the providers where no argument names any, by commas, or ``auto``."""

Providers: TypeAlias = "str | Sequence[str | tuple[str, Mapping[str, object]]] | None"
"""Names of providers in onnxruntime's spelling, best first, each alone or with its options; ``"auto"``; or
None for `PROVIDERS_VARIABLE`, else the CPU."""

ProviderOrder: TypeAlias = "tuple[tuple[str, tuple[tuple[str, str], ...]], ...]"
"""Providers as `provider_order` gives them, plain values that can be hashed and sent: names and options, the
CPU last."""

WHEELS = {
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "DmlExecutionProvider": "onnxruntime-directml",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
    "QNNExecutionProvider": "onnxruntime-qnn",
    "CANNExecutionProvider": "onnxruntime-cann",
}
"""Wheels that take the place of ``onnxruntime`` and have a provider."""

NOT_DETECTED = ("AzureExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider", CPU)
"""Providers that ``"auto"`` leaves out: one sends the input away, two compile for every new length of it."""

_DEFAULT_OPTIONS = {"OpenVINOExecutionProvider": {"num_of_threads": "1"}}  # a core a call, as the CPU
_IDENTITY = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""A graph of one node that copies a number, to see which providers start."""


class RunGate(ForkOwner):
    """Has a fork wait until no session is at work, at most `FORK_SECONDS`.

    onnxruntime has locks of its own. One that another thread has for a moment would stay held in the child,
    whose first run then waits for ever.
    """

    def __init__(self) -> None:
        self._condition = new_condition()
        self._runs = 0
        self._is_forking = False
        follow_forks(self)

    def before_fork(self) -> None:
        """Let what runs end, and nothing more begin."""
        with self._condition:
            self._is_forking = True
            self._condition.wait_for(lambda: self._runs == 0, FORK_SECONDS)

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; in a child nothing runs."""
        with self._condition:
            self._runs = 0 if in_child else self._runs
            self._is_forking = False
            self._condition.notify_all()

    def __enter__(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: not self._is_forking, FORK_SECONDS)
            self._runs += 1

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._runs -= 1
            self._condition.notify_all()


_gate = RunGate()


class Session:
    """An ``onnxruntime.InferenceSession`` whose runs a fork waits for; all else is the session's own.

    Args:
        session: of onnxruntime.
    """

    def __init__(self, session: Any) -> None:  # noqa: ANN401  it has no types
        self._session = session

    def run(self, *arguments: Any) -> Any:  # noqa: ANN401
        """Run the graph, as ``InferenceSession.run`` does."""
        with _gate:
            return self._session.run(*arguments)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._session, name)


def open_session(graph: Path | bytes, providers: Providers | ProviderOrder = None) -> Session:
    """Open a graph with one core a call.

    onnxruntime would keep a plan of its memory for every shape of inputs that it has seen, and every number
    of tokens is another shape: questions of all lengths would take more and more memory. Without those plans
    it is as fast (``docs/lab-log.md``, "an hour's memory").

    Args:
        graph: ONNX file, or its bytes.
        providers: see `Providers`.

    Returns:
        A session that has all of the providers.

    Raises:
        ValueError: onnxruntime does not have a provider, or could not start it.
    """
    order = provider_order(providers)
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    names = [name for name, _ in order]
    if "CUDAExecutionProvider" in names or "TensorrtExecutionProvider" in names:
        _load_cuda_libraries(onnxruntime)
    source = graph if isinstance(graph, bytes) else str(graph)
    arguments = [(name, dict(settings)) if settings else name for name, settings in order]
    if names == [CPU]:
        return Session(onnxruntime.InferenceSession(source, options, providers=arguments))
    try:
        session = onnxruntime.InferenceSession(source, options, providers=arguments, enable_fallback=0)
    except Exception as error:  # onnxruntime's errors have no common class
        raise ValueError(_not_started(names[:-1], str(error))) from error
    absent = [name for name in names if name not in session.get_providers()]
    if absent:
        raise ValueError(_not_started(absent, "its log on standard error has the reason"))
    return Session(session)


def provider_order(providers: Providers | ProviderOrder = None) -> ProviderOrder:
    """Return the providers of a session, best first, the CPU last.

    onnxruntime is imported only where another provider than the CPU is asked for.

    Args:
        providers: see `Providers`; or what this function returned.

    Raises:
        ValueError: a name that onnxruntime does not have here, one that is there twice, or one behind the
            CPU, which would never be used.
        TypeError: a provider is neither a name nor a name with options.
    """
    origin = "providers"
    if providers is None:
        origin, providers = PROVIDERS_VARIABLE, os.environ.get(PROVIDERS_VARIABLE, "").strip() or CPU
    if isinstance(providers, str):
        providers = [name.strip() for name in providers.split(",")]
    if list(providers) == [AUTO]:
        providers = detected_providers()
    pairs = [_pair(provider, origin) for provider in providers]
    names = [name for name, _ in pairs]
    if CPU not in names:
        pairs, names = [*pairs, (CPU, ())], [*names, CPU]
    if names != [CPU]:
        _check_names(names, origin)
    return tuple(pairs)


def available_providers() -> tuple[str, ...]:
    """Return the providers that onnxruntime lists here; one may still lack a library or a device."""
    return tuple(_onnxruntime().get_available_providers())


def detected_providers() -> tuple[str, ...]:
    """Return the providers of ``"auto"``: those that onnxruntime lists and that start, but `NOT_DETECTED`."""
    return (*(name for name in available_providers() if name not in NOT_DETECTED and _starts(name)), CPU)


def started_providers(providers: Providers | ProviderOrder = None) -> tuple[str, ...]:
    """Return the names of the providers that sessions have, as onnxruntime says when one is opened.

    Raises:
        ValueError: as `open_session`.
    """
    order = provider_order(providers)
    if [name for name, _ in order] == [CPU]:
        return (CPU,)
    return tuple(open_session(_IDENTITY, order).get_providers())


def switch_off_telemetry() -> None:
    """Keep onnxruntime from reporting to its maker; without effect once it has been imported.

    From 1.32 on it starts a thread with its import that sends what it is used for, and keeps an identifier of
    the machine in the user's cache folder. Beside that, a forked process that ends waits for that thread for
    ever. A user who wants it sets ``ORT_DISABLE_TELEMETRY=0``.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _onnxruntime() -> Any:  # noqa: ANN401  it has no types
    switch_off_telemetry()
    import onnxruntime

    return onnxruntime


@functools.lru_cache(maxsize=8)
def _starts(name: str) -> bool:
    try:
        open_session(_IDENTITY, [name])
    except ValueError as error:
        logger.info("%s", error)
        return False
    return True


def _load_cuda_libraries(onnxruntime: Any) -> None:  # noqa: ANN401
    """Load CUDA and cuDNN from wheels of NVIDIA, where they came by pip; from 1.21 on onnxruntime can."""
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
            onnxruntime.preload_dlls()


def _pair(provider: object, origin: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return a provider as name and options."""
    if isinstance(provider, str):
        return provider, tuple(_DEFAULT_OPTIONS.get(provider, {}).items())
    if isinstance(provider, tuple) and len(provider) == 2 and isinstance(provider[0], str):
        options = {**_DEFAULT_OPTIONS.get(provider[0], {}), **dict(provider[1])}
        return provider[0], tuple((str(key), str(value)) for key, value in options.items())
    raise TypeError(
        f"{origin} must be names, or pairs of a name and its options, got {provider!r}. "
        "Pass for example ['CUDAExecutionProvider'] or [('CUDAExecutionProvider', {'device_id': 1})]."
    )


def _check_names(names: list[str], origin: str) -> None:
    available = available_providers()
    for name in names:
        if name not in available:
            raise ValueError(
                f"{origin} must be of what onnxruntime has here ({', '.join(available)}), got {name!r}. "
                f"{_advice(name)}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"{origin} must name each provider once, got {', '.join(names)}.")
    if names[-1] != CPU:
        raise ValueError(
            f"{origin} must have {CPU} last, since it takes every node, got {', '.join(names)}. "
            f"Leave it out: it is added."
        )


def _advice(name: str) -> str:
    """Word what to do about a provider that is not there."""
    wheel = WHEELS.get(name)
    if wheel is not None:
        return f"Its wheel takes the place of the other: pip uninstall onnxruntime; pip install {wheel}"
    if name in _onnxruntime().get_all_providers():
        return (
            "No wheel of onnxruntime for this platform has it: see onnxruntime.ai/docs/execution-providers."
        )
    name_list = ", ".join([AUTO, CPU, *WHEELS])
    return f"Names are those of onnxruntime: {name_list}."


def _not_started(names: Sequence[str], reason: str) -> str:
    return (
        f"providers must start on this machine, got {', '.join(names)}, which onnxruntime could not start: "
        f"{reason[:160]}. A driver, a device or a library is missing (CUDA: pip install "
        "'onnxruntime-gpu[cuda,cudnn]'); 'auto' leaves out what does not start."
    )
