"""E-mails (EML): the head, and the text of the body; what is attached is named in a note and not read."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

from mmrag.documents.conversion.base import Conversion
from mmrag.documents.conversion.drawing import Drawing, Piece
from mmrag.documents.conversion.plain_text import decode
from mmrag.documents.conversion.web_page import html_pieces

HEAD = ("Subject", "From", "To", "Cc", "Date")
LONGEST_SUBJECT = 120
MOST_NAMED = 5
"""Attached files that the note names."""


def from_mail(data: bytes) -> Conversion:
    """Convert an e-mail: its pages are named by subject and date."""
    message = message_from_bytes(data, policy=policy.default)
    assert isinstance(message, EmailMessage)
    subject = " ".join(str(_header(message, "Subject")).split()) or "no subject"
    pieces = [Piece("h1", (subject,))]
    pieces += [Piece("p", (f"{key}: {value}",)) for key in HEAD[1:] if (value := _header(message, key))]
    body, notes = _body(message)
    drawing = Drawing()
    label = ", ".join(filter(None, [subject[:LONGEST_SUBJECT], _date(message)]))
    drawing.flow([*pieces, *body], label=label, notes=(*notes, *_attached_note(message)))
    return drawing.finish(subject)


def _header(message: EmailMessage, key: str) -> str:
    """Return a header; ``""`` where it is missing or damaged."""
    try:
        return str(message.get(key, "") or "")
    except Exception:  # noqa: BLE001  (the parser raises many things for a damaged header, which costs itself)
        return ""


def _date(message: EmailMessage) -> str:
    """Return the day on which it was sent, ISO 8601, in the sender's own zone."""
    try:
        return parsedate_to_datetime(_header(message, "Date")).date().isoformat()
    except (TypeError, ValueError, IndexError):
        return ""


def _body(message: EmailMessage) -> tuple[list[Piece], tuple[str, ...]]:
    """Return the pieces of the plain text if there is one, else of the HTML."""
    for subtype in ("plain", "html"):
        part = message.get_body((subtype,))
        payload = part.get_payload(decode=True) if part is not None else None
        if part is None or not isinstance(payload, bytes):
            continue
        text, notes = decode(payload, part.get_content_charset() or "")
        if subtype == "html":
            return html_pieces(text)[1], notes
        if text.strip():
            return [Piece("p", (" ".join(lines.split()),)) for lines in text.split("\n\n")], notes
    return [], ()


def _attached_note(message: EmailMessage) -> tuple[str, ...]:
    """Name the files that are attached, in one note; none without."""
    names = [part.get_filename() or part.get_content_type() for part in message.iter_attachments()]
    if not names:
        return ()
    name_list = ", ".join(" ".join(str(name).split())[:60] for name in names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    verb = "file is" if len(names) == 1 else "files are"
    return (f"{len(names)} attached {verb} not read: {name_list}{more}",)
