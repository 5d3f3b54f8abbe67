"""Form fields and comments of a PDF page, read by PyMuPDF, among the page's words.

Decisions taken here:

* What is hidden on the screen (flags Hidden and NoView) is not read.
* What a page carries that is neither text nor picture (sound, film, 3D) is named in a note.
* A field or comment that is broken costs itself: a note says so, the page's other words are read.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pymupdf

from mmrag.blocks import Box, Word
from mmrag.documents.pdf.comments import Comment, with_comments
from mmrag.documents.pdf.fields import FormField, place_fields, plain_name, printed_words, with_labels
from mmrag.documents.renderer import PageText

_HIDDEN = 2 | 32  # annotation flags Hidden and NoView
_PASSWORD = 1 << 13  # field flag
_MOST_WIDGETS = 5_000  # a page; a chain of annotations in a damaged file may have no end

_WIDGET_KINDS = {
    pymupdf.PDF_WIDGET_TYPE_TEXT: "text",
    pymupdf.PDF_WIDGET_TYPE_COMBOBOX: "choice",
    pymupdf.PDF_WIDGET_TYPE_LISTBOX: "list",
    pymupdf.PDF_WIDGET_TYPE_CHECKBOX: "tick",
    pymupdf.PDF_WIDGET_TYPE_RADIOBUTTON: "radio",
    pymupdf.PDF_WIDGET_TYPE_SIGNATURE: "signature",
}

_NO_COMMENTS = frozenset({"Link", "Popup", "Widget", "FileAttachment"})
_NOT_READ = {
    "Sound": "sound recording",
    "Movie": "film",
    "Screen": "film",
    "RichMedia": "film",
    "3D": "3D model",
}
_MARKING = frozenset({"Highlight", "Underline", "Squiggly", "StrikeOut"})


def with_annotations(page: Any, text: PageText) -> PageText:  # noqa: ANN401  (PyMuPDF is not typed)
    """Return a page's text with its form fields and comments.

    Args:
        page: of a PDF, loaded by PyMuPDF.
        text: what was read of it, with the words that annotations draw.
    """
    try:
        kinds = Counter(_subtype(kind) for _, kind, *_ in page.annot_xrefs())
    except Exception as error:  # noqa: BLE001  (MuPDF raises whatever it likes for a broken list)
        return replace(text, notes=(*text.notes, f"annotations cannot be read ({error})"[:200]))
    notes = list(text.notes)
    if kinds["Widget"]:
        try:
            fields, drawn_words = read_fields(page, text.size)
            text = replace(text, blocks=place_fields(text.blocks, fields, drawn_words))
        except Exception as error:  # noqa: BLE001  (a broken field costs the fields, not the page)
            notes.append(f"form fields cannot be read ({error})"[:200])
    if sum(kinds[kind] for kind in kinds if kind not in _NO_COMMENTS):
        try:
            text = replace(text, blocks=with_comments(text.blocks, _comments(page, text.size)))
        except Exception as error:  # noqa: BLE001  (as above)
            notes.append(f"comments cannot be read ({error})"[:200])
    notes += _unread_notes(kinds)
    return replace(text, notes=tuple(notes))


def form_fields(page: Any, text: PageText) -> tuple[FormField, ...]:  # noqa: ANN401
    """Return the visible form fields of a page with labels, values and states, in the order of the file.

    Args:
        page: of a PDF, loaded by PyMuPDF.
        text: its words before `with_annotations`.
    """
    fields, drawn_words = read_fields(page, text.size)
    return with_labels(printed_words(text.blocks, fields, drawn_words), fields)


def _subtype(kind: int) -> str:
    return str(pymupdf.mupdf.pdf_string_from_annot_type(kind))


def _entry(document: Any, xref: int, key: str) -> tuple[str, str]:  # noqa: ANN401
    """Return type and value of an annotation's entry; one without an object of its own has none."""
    kind, value = document.xref_get_key(xref, key) if xref > 0 else ("null", "null")
    return str(kind), str(value)


def _unread_notes(kinds: Counter[str]) -> list[str]:
    """Name what is on the page and is no text."""
    counts: Counter[str] = Counter()
    for kind, noun in _NOT_READ.items():
        counts[noun] += kinds[kind]
    return [
        f"1 {noun} is not read" if count == 1 else f"{count} {noun}s are not read"
        for noun, count in counts.items()
        if count
    ]


# ---- fields ----------------------------------------------------------------------------------------


def read_fields(page: Any, size: tuple[float, float]) -> tuple[tuple[FormField, ...], tuple[Word, ...]]:  # noqa: ANN401
    """Return the visible fields of a page, without labels, and the words that they draw."""
    fields = []
    widget = page.first_widget
    for _ in range(_MOST_WIDGETS):
        if widget is None:
            break
        field = _field(page, widget, size)
        if field is not None:
            fields.append(field)
        widget = widget.next
    return tuple(fields), _drawn_words(page, pymupdf.mupdf.fz_run_page_widgets, size)


def _field(page: Any, widget: Any, size: tuple[float, float]) -> FormField | None:  # noqa: ANN401
    """Convert a widget; None for a hidden one and for a button that does something."""
    kind = _WIDGET_KINDS.get(widget.field_type)
    flags = _entry(page.parent, widget.xref, "F")[1]
    if kind is None or (flags.isdigit() and int(flags) & _HIDDEN) or widget.rect.is_empty:
        return None
    name = str(widget.field_label or "").strip() or plain_name(str(widget.field_name or ""))
    field = FormField(
        kind, _box(page, widget.rect, size), name=name or plain_name(str(widget.field_name or ""))
    )
    if kind in ("tick", "radio"):
        return replace(field, is_on=_is_on(page.parent, widget))
    if kind == "signature":
        return replace(field, value="signed" if widget.is_signed else "")
    if kind == "text" and widget.field_flags & _PASSWORD:
        return replace(field, kind="password")
    return _with_value(field, widget)


def _with_value(field: FormField, widget: Any) -> FormField:  # noqa: ANN401
    """Add the value as it is shown: of a choice, the options' words instead of what a form sends for them."""
    raw = widget.field_value
    values = [str(value) for value in raw] if isinstance(raw, (list, tuple)) else [str(raw or "")]
    words = {}
    for option in widget.choice_values or ():
        if isinstance(option, (list, tuple)) and len(option) == 2:
            words[str(option[0])] = str(option[1])
    text_shown = "\n".join(words.get(value, value) for value in values)
    value = re.sub(r"\r\n?|\u2028|\u2029", "\n", text_shown).strip()
    return replace(field, value=value, export=values[0] if words and values[0] != value else "")


def _is_on(document: Any, widget: Any) -> bool:  # noqa: ANN401
    """Return the state that is drawn; the field's value where nothing says which state is drawn."""
    kind, state = _entry(document, widget.xref, "AS")
    if kind == "name":
        return bool(state != "/Off")
    return str(widget.field_value or "Off") not in ("Off", "False", "No", "")


def _drawn_words(page: Any, run: Any, size: tuple[float, float]) -> tuple[Word, ...]:  # noqa: ANN401
    """Return the words that a part of a page draws, as shown."""
    mupdf = pymupdf.mupdf
    text_page = mupdf.FzStextPage(mupdf.fz_bound_page(page.this))
    device = mupdf.fz_new_stext_device(text_page, mupdf.FzStextOptions())
    run(page.this, device, mupdf.FzMatrix(), mupdf.FzCookie())
    mupdf.fz_close_device(device)
    return tuple(
        Word(word[4], (word[0] / size[0], word[1] / size[1], word[2] / size[0], word[3] / size[1]))
        for word in pymupdf.TextPage(text_page).extractWORDS()
    )


def _box(page: Any, rect: Any, size: tuple[float, float]) -> Box:  # noqa: ANN401
    """Convert a rectangle of the unrotated page to 0..1 as shown, clipped to the page."""
    turned_rect = pymupdf.Rect(rect) * page.rotation_matrix
    edges = (
        turned_rect.x0 / size[0],
        turned_rect.y0 / size[1],
        turned_rect.x1 / size[0],
        turned_rect.y1 / size[1],
    )
    x0, y0, x1, y1 = (min(max(float(edge), 0.0), 1.0) for edge in edges)
    return x0, y0, x1, y1


# ---- comments --------------------------------------------------------------------------------------


def _comments(page: Any, size: tuple[float, float]) -> list[Comment]:  # noqa: ANN401
    """Return the comments of a page, from top to bottom, each followed by its replies."""
    threads: dict[int, list[Comment]] = {}
    for annotation in page.annots():
        comment = _comment(page, annotation, size)
        if comment is not None:
            first = annotation.irt_xref if comment.is_reply else annotation.xref
            threads.setdefault(first, []).append(comment)
    thread_order = sorted(threads.values(), key=lambda thread: (thread[0].box[1], thread[0].box[0]))
    return [comment for thread in thread_order for comment in thread]


def _comment(page: Any, annotation: Any, size: tuple[float, float]) -> Comment | None:  # noqa: ANN401
    """Convert an annotation; None for one that is hidden, empty or no comment."""
    kind = annotation.type[1]
    if kind in _NO_COMMENTS or kind in _NOT_READ or annotation.flags & _HIDDEN:
        return None
    text = " ".join(str(annotation.info.get("content") or "").split()) or _rich_text(page, annotation)
    if not text:
        return None
    return Comment(
        text,
        _box(page, annotation.rect, size),
        author=" ".join(str(annotation.info.get("title") or "").split()),
        marks=_marks(page, annotation, size) if kind in _MARKING else (),
        is_reply=annotation.irt_xref > 0,
    )


def _rich_text(page: Any, annotation: Any) -> str:  # noqa: ANN401
    """Return a comment's formatted text without its tags, where it has no plain one."""
    kind, value = _entry(page.parent, annotation.xref, "RC")
    if kind != "string":
        return ""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", value)).split())


def _marks(page: Any, annotation: Any, size: tuple[float, float]) -> tuple[Box, ...]:  # noqa: ANN401
    """Return the boxes of the marked text."""
    points = annotation.vertices or []
    quads = (points[start : start + 4] for start in range(0, len(points) - 3, 4))
    return tuple(_box(page, pymupdf.Quad(*quad).rect, size) for quad in quads)
