"""What PostgreSQL says, as the errors of the package: what is wrong, and what to do.

The text of the server may hold values, never a password: addresses are shown without, and what the server
repeats is struck by `mmrag.masking`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from mmrag.errors import (
    IndexFormatError,
    MMRagError,
    ServerAccessError,
    ServerError,
    ServerFullError,
    ServerTimeoutError,
    ServerUnfitError,
    ServerUnreachableError,
)
from mmrag.masking import mask_causes

AGAIN = (errors.DeadlockDetected, errors.SerializationFailure)
"""Nothing was written and nothing is wrong: the same once more."""

_ACCESS = (
    errors.InvalidPassword,
    errors.InvalidAuthorizationSpecification,
    errors.InvalidCatalogName,
    errors.InsufficientPrivilege,
)
_FULL = (errors.DiskFull, errors.OutOfMemory, errors.TooManyConnections, errors.InsufficientResources)
_SHAPE = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.InvalidSchemaName,
    errors.DatatypeMismatch,
    errors.WrongObjectType,
)
_FULL_WORDS = ("too many clients", "too many connections", "reserved for roles")
_ACCESS_WORDS = (
    "password",
    "authentication",
    "does not exist",
    "pg_hba.conf",
    "not permitted to log in",
    "permission denied for database",
)


class CommitUnknownError(ServerUnreachableError):
    """The connection was cut while a transaction ended: it may be written whole, or not at all."""


def is_cut(error: BaseException) -> bool:
    """Return whether the connection is gone, or goes to a server that cannot do it now: ask another one."""
    if isinstance(error, (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow)):
        return True
    if isinstance(error, errors.ReadOnlySqlTransaction):  # a standby that was the primary, or is to be
        return True
    return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) and error.sqlstate is None


def connect_fault(error: psycopg.Error, address: str) -> ServerError:
    """Return the error of a connection that could not be made."""
    words = " ".join(str(error).split())
    if isinstance(error, _FULL) or any(part in words for part in _FULL_WORDS):
        return ServerFullError(
            f"{address} takes no more connections ({words}). Raise max_connections there, lower "
            "max_connections here, or put a pooler between."
        )
    if isinstance(error, _ACCESS) or any(part in words for part in _ACCESS_WORDS):
        return ServerAccessError(
            f"{address} refused the connection ({words}). Check user, password and database of the address; "
            "a password may stand in PGPASSWORD or ~/.pgpass."
        )
    return ServerUnreachableError(
        f"no PostgreSQL server at {address} ({words}). Check host and port, and that it is running."
    )


def server_fault(error: psycopg.Error, address: str, task: str) -> MMRagError:
    """Return the error of a statement that failed.

    Args:
        error: of the client.
        address: of the server, without a password.
        task: what failed, in words: "a search", "adding 16 records".
    """
    words = " ".join(str(error).split())
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return ServerAccessError(
            f"{address} is a standby or read-only, and takes no writes ({words}). Name the primary, or all "
            "hosts with ?target_session_attrs=read-write; nothing was written."
        )
    if is_cut(error):
        return ServerUnreachableError(
            f"the connection to {address} was cut during {task} ({words}). Nothing of it was written; "
            "call it again once the server is back."
        )
    if isinstance(error, errors.QueryCanceled):
        return ServerTimeoutError(
            f"{address} took longer than a statement may for {task} ({words}). Raise statement_seconds, "
            "ask for less, or look at the server's load; nothing of it was written."
        )
    if isinstance(error, (errors.LockNotAvailable, *AGAIN)):
        return ServerTimeoutError(
            f"{address}: {task} waits for other writers ({words}). Call it again; nothing of it was written."
        )
    if isinstance(error, _FULL):
        return ServerFullError(
            f"{address} has no room for {task} ({words}). Free some space there; nothing of it was written."
        )
    if isinstance(error, _ACCESS):
        return ServerAccessError(
            f"{address} refused {task} ({words}). Grant the role what it needs: docs/scale.md has the list."
        )
    if isinstance(error, (errors.FeatureNotSupported, errors.UndefinedFile, errors.UndefinedObject)):
        return ServerUnfitError(
            f"{address} lacks what {task} needs ({words}). PostgreSQL 14 and pgvector 0.8 are the oldest "
            "that do."
        )
    if isinstance(error, (*_SHAPE, errors.UniqueViolation, errors.ForeignKeyViolation)):
        return IndexFormatError(
            f"{address} must hold tables as this package makes them, got others in {task} ({words}). Name "
            "another schema, or bring back what was changed."
        )
    return ServerError(f"{address} failed in {task} ({words}). Nothing of it was written.")


def strike_secrets(error: psycopg.Error) -> None:
    """Take secrets out of an error of the client: out of its words, and the connection that it holds."""
    mask_causes(error)
    if "_pgconn" in vars(error):
        vars(error)["_pgconn"] = None


@contextmanager
def faults_of(address: str, task: str) -> Iterator[None]:
    """Raise what the client raises in the block as an error of the package."""
    try:
        yield
    except psycopg.Error as error:
        strike_secrets(error)
        raise server_fault(error, address, task) from error
