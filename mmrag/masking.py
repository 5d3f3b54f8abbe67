"""Secrets in texts, names and argument lists: what must not be shown, stored or handed on.

Decisions:

* Every key that a client sends is remembered here, and struck out of every `mmrag.errors.ServerError` and
  `mmrag.errors.ServeError` of the process, wherever a server repeats it: body, reason, header, log.
* Names of variables and flags are judged by shape (``*_KEY``, ``*PASSWORD*``, ``*TOKEN*``), not by a list.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

MASK = "***"
SHORTEST_SECRET = 8  # characters; shorter ones ("EMPTY", "none") are words that stand in ordinary messages
MOST_SECRETS = 256  # remembered in one process; the oldest go first
_forms: dict[str, tuple[str, ...]] = {}

_SECRET_NAME = re.compile(
    r"(?:^|[_-])keys?(?:$|[_-]id$|[_-]file$|[_-]path$)|apikey|secret|passw|passphrase|[a-z_-]pass$|[_-]pwd$"
    r"|tokens?(?:$|[_-])|credential|(?:^|[_-])auth(?:$|[_-])|cookie|[_-]pat$|[_-]dsn$",
    re.IGNORECASE,
)
_URL_WITH_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]+@")
_COUNT_NAME = re.compile(
    r"max|num|limit|batch|tokens$", re.IGNORECASE
)  # --max-num-batched-tokens is no secret


def remember_secret(secret: str) -> None:
    """Keep this secret out of the errors of this process from now on."""
    if len(secret) < SHORTEST_SECRET or secret in _forms:
        return
    _forms[secret] = spellings(secret)
    while len(_forms) > MOST_SECRETS:
        _forms.pop(next(iter(_forms)), None)


def spellings(secret: str) -> tuple[str, ...]:
    """Return a secret as texts, JSON, HTML and URLs spell it, longest first; none of a short one."""
    if len(secret) < SHORTEST_SECRET:
        return ()
    in_json = json.dumps(secret)[1:-1]
    forms = {secret, in_json, in_json.replace("/", "\\/"), html.escape(secret), quote(secret, safe="")}
    return tuple(sorted(forms, key=len, reverse=True))


def mask_secrets(text: str) -> str:
    """Return a text without the secrets that are remembered."""
    for forms in list(_forms.values()):
        for form in forms:
            text = text.replace(form, MASK)
    return text


def mask_causes(error: BaseException) -> None:
    """Replace secrets in an exception and in those that led to it: tracebacks print them all."""
    known_ids: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in known_ids:
        known_ids.add(id(cause))
        cause.args = tuple(mask_secrets(value) if isinstance(value, str) else value for value in cause.args)
        cause = cause.__cause__ or cause.__context__


def is_secret_name(name: str) -> bool:
    """Return whether a variable or a flag of this name is likely to hold a secret."""
    return bool(_SECRET_NAME.search(name)) and not _COUNT_NAME.search(name)


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those of the environment's variables that hold no secret, by name or by value."""
    return {
        name: value
        for name, value in variables.items()
        if not (_SECRET_NAME.search(name) or _URL_WITH_PASSWORD.search(value))
    }


def mask_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command with the values of secret flags masked.

    ``--api-key x y`` takes all values up to the next flag; ``--api-key=x`` its own. So are passwords in URLs.
    """
    result: list[str] = []
    in_secret = False
    for argument in arguments:
        if argument.startswith("-"):
            name, equals, _ = argument.partition("=")
            in_secret = is_secret_name(name.lstrip("-"))
            text = _URL_WITH_PASSWORD.sub(_masked_credentials, argument)
            result.append(f"{name}={MASK}" if in_secret and equals else text)
            in_secret = in_secret and not equals
        else:
            result.append(MASK if in_secret else _URL_WITH_PASSWORD.sub(_masked_credentials, argument))
    return result


def _masked_credentials(match: re.Match[str]) -> str:
    """Return ``://user:***@`` of a URL's ``://user:password@``."""
    return f"{match[0].partition(':')[0]}:{match[0].split(':')[1]}:{MASK}@"
