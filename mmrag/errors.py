"""Every exception of the package, in one tree.

::

    MMRagError
    ├── MissingExtraError(ImportError)        a feature needs an extra that is not installed
    ├── DocumentError(ValueError)             a file cannot be used
    │   ├── PasswordRequiredError             encrypted, and no password fits
    │   ├── PageError                         one page failed; the others are fine
    │   └── SourceChangedError                the file moved or changed since it was indexed
    ├── UnsupportedInputError(ValueError)     the embedder cannot take this kind of input
    ├── BadInputError(ValueError)             one input of a call cannot be embedded; the others can
    ├── IndexMismatchError(ValueError)        the index was built by another embedder
    ├── IndexFormatError(ValueError)          not an index, or one of another format version
    │   └── IndexDamagedError                 stored data is damaged; names the record
    ├── IndexLockedError(RuntimeError)        another process holds the index for writing
    ├── IndexReadOnlyError(RuntimeError)      a write on an index opened for reading
    ├── WorkerError(RuntimeError)             a reading process cannot be started, or is closed
    ├── ServeError(RuntimeError)              a model server cannot be started, or ended by itself
    └── ServerError(RuntimeError)             something behind a URL failed
        ├── ServerUnreachableError            no connection, or one that was cut
        │   └── ServerTimeoutError            no answer in time
        ├── ServerAccessError                 a store refused: name, password, database or rights
        ├── ServerUnfitError                  a store's server is too old, or lacks an extension
        ├── ServerFullError                   a store's server has no room: disk, memory or connections
        ├── ServerStatusError                 an HTTP status that is not 200; quotes the body
        └── ServerAnswerError                 an answer that does not fit the request

Wrong arguments are plain `ValueError` and `TypeError`. A message says what is wrong, the rule, the
value, and what to do.
"""

from __future__ import annotations

from mmrag.masking import mask_secrets


class MMRagError(Exception):
    """Base of all exceptions that this package raises on purpose; each can be pickled, as its arguments can.

    Worker processes and task queues hand errors back as pickles.

    Example:
        >>> try:
        ...     mmrag.read("absent.pdf")
        ... except MMRagError as error:
        ...     print(type(error).__name__)
        DocumentError
    """

    def __reduce__(self) -> tuple[object, ...]:
        """Return what makes the error again, whatever its constructor takes."""
        return _error_again, (type(self), self.args, self.__dict__)


def _error_again(
    kind: type[MMRagError], args: tuple[object, ...], attributes: dict[str, object]
) -> MMRagError:
    """Make an error with these arguments of `Exception` and these attributes."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class MissingExtraError(MMRagError, ImportError):
    """A feature needs packages of an extra that is not installed.

    Attributes:
        feature: the feature that needs it, in words.
        extra: the extra's name in pyproject.
    """

    def __init__(self, feature: str, extra: str) -> None:
        """Write the message from the feature and the extra."""
        self.feature = feature
        self.extra = extra
        super().__init__(
            f"{feature} needs the extra '{extra}'. Install it with: pip install 'mmrag[{extra}]'"
        )


class DocumentError(MMRagError, ValueError):
    """A file cannot be opened, is of no known kind, or breaks a limit."""


class PasswordRequiredError(DocumentError):
    """The document is encrypted and none of the passwords opens it."""


class PageError(DocumentError):
    """One page could not be read or rendered.

    Attributes:
        number: 0-based page number.
    """

    def __init__(self, message: str, number: int) -> None:
        """Keep the page number with the message."""
        self.number = number
        super().__init__(message)


class SourceChangedError(DocumentError):
    """The file of an indexed page is gone or is not the same file any more."""


class UnsupportedInputError(MMRagError, ValueError):
    """The embedder cannot take this kind of input, for example an image."""


class BadInputError(MMRagError, ValueError):
    """One input of a call cannot be embedded; nothing is wrong with the others.

    Attributes:
        index: its position in the call, from 0.
        reason: the message without that position.
    """

    def __init__(self, kind: str, index: int, reason: str) -> None:
        """Write the message: ``<kind> <index>: <reason>``."""
        self.index = index
        self.reason = reason
        super().__init__(f"{kind} {index}: {reason}")


class ModelDamagedError(MMRagError, ValueError):
    """A file of a model is not the one whose digest its folder states."""


class IndexMismatchError(MMRagError, ValueError):
    """The index was built by another embedder."""


class IndexFormatError(MMRagError, ValueError):
    """The directory is not an index, or one of a format this version cannot read."""


class IndexDamagedError(IndexFormatError):
    """Stored data of an index is damaged: it does not decode, or is not what was written.

    Attributes:
        part: what is damaged: ``"record"``, ``"matrix"``, ``"first"``, ``"blocks"``, ``"document"``,
            ``"blob"``, ``"state"`` or ``"file"``.
        key: id of the record or document, key of the blob or state; path of the file.
    """

    def __init__(self, message: str, part: str, key: str) -> None:
        """Keep part and key with the message."""
        self.part = part
        self.key = key
        super().__init__(message)


class IndexLockedError(MMRagError, RuntimeError):
    """Another process holds the index for writing."""


class IndexReadOnlyError(MMRagError, RuntimeError):
    """A write was tried on an index that is open for reading only."""


class WorkerError(MMRagError, RuntimeError):
    """A reading process cannot be started, or the reader is closed; no file is at fault."""


class ServeError(MMRagError, RuntimeError):
    """A model server cannot be started here, or ended by itself; the message quotes its log."""

    def __init__(self, message: str) -> None:
        """Write the message without the keys that were sent: logs repeat them."""
        super().__init__(mask_secrets(message))


class ServerError(MMRagError, RuntimeError):
    """Something behind a URL failed."""

    def __init__(self, message: str) -> None:
        """Write the message without the keys that were sent: servers repeat them."""
        super().__init__(mask_secrets(message))


class ServerUnreachableError(ServerError):
    """No connection, one that was cut, or no answer in time."""


class ServerTimeoutError(ServerUnreachableError):
    """A store's server took longer than a statement may."""


class ServerAccessError(ServerError):
    """A store's server refused: an unknown name, password or database, or a right that is missing."""


class ServerUnfitError(ServerError):
    """A store's server is too old, or lacks an extension that may not be added."""


class ServerFullError(ServerError):
    """A store's server has no room: its disk is full, or its memory or connections are used up."""


class ServerStatusError(ServerError):
    """The server answered with an HTTP status other than 200.

    Attributes:
        status: the HTTP status.
        body: the start of the response.
    """

    def __init__(self, message: str, status: int, body: str) -> None:
        """Keep status and body with the message."""
        self.status = status
        self.body = mask_secrets(body)
        super().__init__(message)


class ServerAnswerError(ServerError):
    """The server's answer does not fit the request.

    Attributes:
        raw_text: the answer as received.
    """

    def __init__(self, message: str, raw_text: str) -> None:
        """Keep the raw answer with the message."""
        self.raw_text = mask_secrets(raw_text)
        super().__init__(message)


def check_whole(name: str, value: object, least: int = 1, most: int | None = None, *, hint: str = "") -> int:
    """Return `value` if it is a whole number in ``least..most``.

    Args:
        name: of the argument, for the message.
        value: the caller's value; a bool is no number.
        least: smallest value allowed.
        most: largest value allowed; None for no upper limit.
        hint: sentence that says what to do instead.

    Raises:
        ValueError: another type, or out of range.
    """
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and least <= value
        and (most is None or value <= most)
    ):
        return value
    span = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise ValueError(f"{name} must be a whole number {span}, got {value!r}.{hint and ' ' + hint}")
