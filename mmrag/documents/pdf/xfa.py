"""Dynamic XFA forms: a PDF whose pages only say "please wait", and whose content is XML.

Adobe LiveCycle made such forms; no free library draws them. What somebody has filled in is in the packet
``datasets``, and the labels are in ``template``: from these a plain list of ``label: value`` is made.

Decisions taken here:

* A form is dynamic if it has an XFA packet, no field on its pages, and either says that it needs rendering or
  is one page that speaks of Adobe or of waiting. A form with fields on its pages is read from these.
* XML with a document type is refused, so nothing can be expanded or fetched.
"""

from __future__ import annotations

import contextlib
import re
from xml.parsers import expat

from mmrag.documents.pdf.fields import plain_name

NOTE = (
    "a dynamic XFA form: its values are listed, the form itself is not read "
    "(open it in Adobe Reader and print it to a PDF)"
)
NO_VALUES = (
    "a dynamic XFA form, which only Adobe Reader shows, without values that can be read. "
    "Open it there, print it to a PDF and add that."
)
MOST_BYTES = 32 << 20
"""Of XML; a form has some hundred kilobytes, pictures in it some megabytes."""

_WAITING_TEXT = re.compile(r"please wait|adobe", re.I)


class _RefusedXmlError(ValueError):
    """XML that declares a document type."""


def speaks_of_waiting(text: str) -> bool:
    """Check whether a page's text is what stands in for a form that the reader cannot show."""
    return bool(_WAITING_TEXT.search(text))


def form_values(xml: bytes) -> list[tuple[str, str]]:
    """Return labels and values of a form in the order of its data.

    Args:
        xml: all packets, joined.

    Returns:
        Fields that are filled in; the label is the field's caption, or its name in words. Empty if the XML is
        broken before the first value, too large or declares a document type.
    """
    if len(xml) > MOST_BYTES:
        return []
    reader = _FormReader()
    with contextlib.suppress(expat.ExpatError, _RefusedXmlError):  # what came before the break is right
        reader.parse(xml)
    return [(reader.captions.get(name) or plain_name(name), value) for name, value in reader.values]


class _FormReader:
    """Collects values from ``datasets/data`` and captions from ``template``."""

    def __init__(self) -> None:
        """Start outside of both."""
        self.values: list[tuple[str, str]] = []
        self.captions: dict[str, str] = {}
        self._path: list[str] = []
        self._fields: list[str] = []  # names of the template's fields around the position
        self._texts: list[list[str]] = []
        self._has_children: list[bool] = []

    def parse(self, xml: bytes) -> None:
        """Read the XML; raises `expat.ExpatError` and `_RefusedXmlError`."""
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.Parse(xml, True)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rsplit(":", 1)[-1]
        if self._has_children:
            self._has_children[-1] = True
        self._path.append(name)
        self._has_children.append(False)
        self._texts.append([])
        if name in ("field", "exclGroup"):
            self._fields.append(attributes.get("name", ""))

    def _text(self, text: str) -> None:
        if self._texts:
            self._texts[-1].append(text)

    def _end(self, _tag: str) -> None:
        name, has_children = self._path.pop(), self._has_children.pop()
        text = " ".join("".join(self._texts.pop()).split())
        if name in ("field", "exclGroup") and self._fields:
            self._fields.pop()
        if "caption" in self._path and self._fields and text:
            before = self.captions.get(self._fields[-1], "")
            self.captions[self._fields[-1]] = f"{before} {text}".strip()
        elif text and not has_children and self._is_data():
            self.values.append((name, text))

    def _is_data(self) -> bool:
        """Check whether the element that ended is one of the form's data."""
        return "datasets" in self._path and "data" in self._path[self._path.index("datasets") :]


def _refuse(*_: object) -> None:
    raise _RefusedXmlError("a form must have no document type")


def packet_numbers(entry: str) -> list[int]:
    """Return the object numbers of the packets in an array like ``[(template) 9 0 R (datasets) 10 0 R]``."""
    return [int(number) for number in re.findall(r"(\d+)\s+\d+\s+R\b", entry)]
