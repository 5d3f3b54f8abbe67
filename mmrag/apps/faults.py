"""Errors as the API sends them: a type, one sentence, never a path of the server's machine.

::

    {"error": {"type": "ValueError", "message": "k must be ...", "id": "3f2a..."}}

What the caller did wrong is named in the package's own words. What went wrong inside is named by its id
alone, which stands in the server's log beside the whole story.
"""

from __future__ import annotations

import logging
import re
import secrets
from typing import Any

from mmrag.apps.access import UnknownKeyError
from mmrag.apps.collections import UnknownCollectionError
from mmrag.errors import (
    DocumentError,
    IndexLockedError,
    IndexReadOnlyError,
    MissingExtraError,
    MMRagError,
    ServerError,
    SourceChangedError,
    UnsupportedInputError,
)
from mmrag.files import visible
from mmrag.index.addresses import SCHEMES
from mmrag.masking import mask_secrets

logger = logging.getLogger(__name__)

LONGEST_MESSAGE = 600


class NotFoundError(LookupError):
    """There is no such page, document or record, or the caller may not see it."""


class TooLargeError(ValueError):
    """A request is larger than the server takes."""


class SlowBodyError(TimeoutError):
    """A request's body came more slowly than the server waits."""


class TooSlowError(TimeoutError):
    """A request took longer than the server waits."""


class ForbiddenError(PermissionError):
    """The key is known and may not do this."""


STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (UnknownKeyError, 401),
    (ForbiddenError, 403),
    (IndexReadOnlyError, 403),
    (UnknownCollectionError, 404),
    (NotFoundError, 404),
    (SourceChangedError, 410),
    (SlowBodyError, 408),
    (TooLargeError, 413),
    (UnsupportedInputError, 422),
    (DocumentError, 422),
    (IndexLockedError, 503),
    (TooSlowError, 504),
    (ServerError, 502),
    (MissingExtraError, 501),
)
"""HTTP status of each kind of error, the first that fits."""

_PATH = re.compile(r"(?<![\w:/.])(?:[A-Za-z]:)?[\\/](?:[^\n'\"]*[\\/])+")
"""From where an absolute path begins to the last separator: names of folders have spaces and colons, too."""


_STORE = re.compile(rf"\b(?:{'|'.join(map(re.escape, SCHEMES))})://\S*[^\s.,:;)]")
"""The address of an index's store: host, user and database are nobody's business who asks a question."""


def without_paths(text: str) -> str:
    """Return a message with absolute paths cut to their last part, rather too much of it than too little.

    The address of an index's store is left out whole.

    >>> without_paths("the file at /srv/private reports/a.pdf has changed.")
    'the file at a.pdf has changed.'
    """
    return _PATH.sub("", _STORE.sub("the index's server", text))


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error: 422 for a wrong argument, 500 for what is not the caller's."""
    for kind, status in STATUSES:
        if isinstance(error, kind):
            return status
    return 422 if isinstance(error, (ValueError, TypeError)) and not isinstance(error, MMRagError) else 500


def describe(error: Exception) -> tuple[int, dict[str, Any]]:
    """Return status and body of an error; one of the server's own is logged and sent without its words."""
    status = status_of(error)
    identity = secrets.token_hex(6)
    message = visible(without_paths(mask_secrets(str(error))))[:LONGEST_MESSAGE]
    if status >= 500:
        logger.error("request failed, id %s", identity, exc_info=error)
    if status == 500:
        return status, body_of("InternalError", "the server failed; its log has this id.", identity)
    return status, body_of(type(error).__name__, message, identity)


def body_of(kind: str, message: str, identity: str | None = None) -> dict[str, Any]:
    """Return an error as the API sends it."""
    return {"error": {"type": kind, "message": message, "id": identity}}
