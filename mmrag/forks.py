"""What a process made by `os.fork` must not take over from its parent: locks, connections, others' work.

The child gets a copy of the memory and one thread. A lock that another thread held stays held for ever, a
connection is shared with the parent, and what other threads were to finish is never finished. So locks are
made by `new_lock`, which are free in a child, and an owner of connections is told of each fork
(`follow_forks`).

A server that loads an application once and forks its workers (gunicorn with preload), Celery and
`multiprocessing` with "fork" do this; `subprocess` does not.
"""

from __future__ import annotations

import os
import threading
from typing import Any, cast
from weakref import WeakSet

FORK_SECONDS = 5.0
"""Longest that a fork waits for the work of another thread, so that it leaves whole states."""


class ForkOwner:
    """An object that has what a child must not share."""

    def before_fork(self) -> None:
        """Prepare what is shared to be copied; in the parent, just before the fork."""
        return

    def after_fork(self, *, in_child: bool) -> None:
        """Leave in the child what is the parent's; in the parent, go on."""
        return


_registry_lock = threading.RLock()  # a fork may come from a signal's handler
_locks: WeakSet[Any] = WeakSet()
_owners: WeakSet[Any] = WeakSet()
_fork_owners: list[ForkOwner] = []
_immortals: list[object] = []


def new_lock() -> threading.Lock:
    """Return a lock that is free in every child."""
    return cast("threading.Lock", _free_in_child(threading.Lock()))


def new_condition() -> threading.Condition:
    """Return a condition, with a lock of its own, that nobody holds or waits for in any child."""
    return cast("threading.Condition", _free_in_child(threading.Condition()))


def new_recursive_lock() -> Any:  # noqa: ANN401  the class of a recursive lock has no name to import
    """Return a lock that one thread may take several times, and that is free in every child."""
    return _free_in_child(threading.RLock())


def follow_forks(owner: ForkOwner) -> None:
    """Call an owner before and after each fork, while it lives."""
    with _registry_lock:
        _owners.add(owner)


def keep_for_ever(thing: object) -> None:
    """Keep an object from being freed, even when the interpreter ends.

    In a child its clean-up would wait for threads of the parent, or undo what the parent has.
    """
    _immortals.append(thing)
    try:
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    except (ImportError, AttributeError):  # not CPython: it is kept until the interpreter ends
        return


def _free_in_child(lock: Any) -> Any:  # noqa: ANN401  any of the three
    with _registry_lock:
        _locks.add(lock)
    return lock


def _before_fork() -> None:
    _registry_lock.acquire()
    _fork_owners[:] = list(_owners)
    for owner in _fork_owners:
        owner.before_fork()


def _after_in_parent() -> None:
    owners = _fork_owners.copy()
    _fork_owners.clear()
    _registry_lock.release()
    for owner in owners:
        owner.after_fork(in_child=False)


def _after_in_child() -> None:
    owners = _fork_owners.copy()
    _fork_owners.clear()
    _registry_lock.release()
    for lock in list(_locks):
        lock._at_fork_reinit()  # as the standard library frees its own
    for owner in owners:
        owner.after_fork(in_child=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
