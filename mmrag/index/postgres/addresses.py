"""A PostgreSQL address, taken apart: what goes to the client, and what is ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from mmrag.index.addresses import shown_address

DEFAULT_SCHEMA = "mmrag"

_OWN_SETTINGS = ("schema", "read_url", "statement_seconds")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is, and what of it is used.

    Attributes:
        label: as it may be shown, without passwords.
        settings: of libpq; the password is among them.
        schema: schema of the index; None: not said.
        read_url: address of replicas; None: not said.
        statement_seconds: longest that a statement may take; None: not said.
    """

    label: str
    settings: dict[str, str] = field(repr=False)
    schema: str | None = None
    read_url: str | None = field(default=None, repr=False)
    statement_seconds: float | None = None


def parse_address(text: str) -> Address:
    """Take an address apart: ``postgresql://user@host:port/database?schema=mmrag&sslmode=require``.

    Besides the settings of libpq it takes ``schema``, ``read_url`` (percent-encoded) and
    ``statement_seconds``. Several hosts, ``postgresql://one,two/database?target_session_attrs=read-write``,
    are tried in order.

    Raises:
        ValueError: libpq does not understand it; the message has no part of a password.
    """
    label = shown_address(text)
    base, mark, query = text.partition("?")
    own_settings: dict[str, str] = {}
    rest = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _OWN_SETTINGS:
            own_settings[name] = value
        else:
            rest.append((name, value))
    url = base + (mark + urlencode(rest, quote_via=quote) if rest else "")
    try:
        settings = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        settings = None
    if settings is None:  # the client's own words quote the password
        raise ValueError(
            f"an address must be postgresql://USER@HOST:PORT/DATABASE, got {label}, which libpq does not "
            "understand. Write signs like @ : / ? # in a password as %40 %3A %2F %3F %23, or put it into "
            "PGPASSWORD."
        )
    seconds = own_settings.get("statement_seconds")
    try:
        longest = None if seconds is None else float(seconds)
    except ValueError:
        longest = 0.0
    if longest is not None and not longest > 0:
        raise ValueError(f"statement_seconds must be a number above 0, got {seconds!r}.")
    return Address(
        label,
        {name: str(value) for name, value in settings.items() if value is not None},
        own_settings.get("schema") or None,
        own_settings.get("read_url") or None,
        longest,
    )
