"""The writer of `load_api.py`: it adds documents to a server, removes the oldest and keeps a journal.

What it is about to do stands in the journal before the request, and what the server reported after it. So
whoever kills it, or the server, at any moment knows what must be there: a writer that starts again
finishes what its journal has open, and goes on.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

PAGES = 2
"""Of each document that is added."""

COLLECTION = "/api/collections/documents"
PATIENCE = 300.0  # seconds that a server may be away or take for one request


def word(number: int) -> str:
    """Return the word that stands in one document alone."""
    return f"quartz{number:06}"


def file_name(number: int) -> str:
    """Return the name of a document that is added."""
    return f"log-{number:06}.pdf"


def make_pdf(number: int) -> bytes:
    """Return a PDF of two pages whose first has the document's own word."""
    lines = [
        f"Station log {word(number)}: the tide was {number % 97} centimetres high.",
        f"Appendix {number}: nothing was lost on day {number % 365}.",
    ]
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in range(PAGES))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {PAGES} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for page, line in enumerate(lines):
        content = f"BT /F1 12 Tf 72 720 Td ({line}) Tj ET"
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {5 + 2 * page} 0 R >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    data, starts = "%PDF-1.4\n", list[int]()
    for index, text in enumerate(objects, 1):
        starts.append(len(data))
        data += f"{index} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{start:010} 00000 n \n" for start in starts)
    size = len(objects) + 1
    trailer = f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    return (data + f"xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}").encode()


@dataclass
class Journal:
    """What a writer was about to do and what was reported, read from its file.

    Attributes:
        sent: numbers of documents whose adding has begun, in order.
        added: of those that the server reported as added.
        removing: of those whose removal has begun.
        removed: of those that the server reported as removed.
        seconds: of each add that was reported, at the first try or a later one.
        errors: what was wrong with what the server said.
        cuts: requests that the server's end cut, and that were sent again.
    """

    sent: list[int] = field(default_factory=list)
    added: set[int] = field(default_factory=set)
    removing: set[int] = field(default_factory=set)
    removed: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    cuts: int = 0

    @classmethod
    def read(cls, path: Path) -> Journal:
        """Read the lines that are whole: the last one may have been cut by a kill."""
        journal = cls()
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        for line in text.split("\n")[:-1]:
            verb, _, rest = line.partition(" ")
            if verb == "error":
                journal.errors.append(rest)
            elif verb == "cut":
                journal.cuts += 1
            elif verb == "added":
                number, seconds = rest.split()
                journal.added.add(int(number))
                journal.seconds.append(float(seconds))
            elif verb == "removed":
                journal.removed.add(int(rest))
            elif verb == "sent":
                journal.sent.append(int(rest))
            elif verb == "removing":
                journal.removing.add(int(rest))
        return journal

    @property
    def live(self) -> list[int]:
        """Numbers of the documents that were reported and whose removal has not begun."""
        return [number for number in self.sent if number in self.added and number not in self.removing]

    @property
    def open(self) -> bool:
        """Whether something was begun and not reported."""
        return set(self.sent) != self.added or self.removing != self.removed


def ask(port: int, method: str, path: str, body: bytes = b"", content: str = "application/json") -> Any:
    """Send a request over a connection of its own; return the JSON, or the bytes of a picture.

    Raises:
        OSError: the server is away, or went away (`ConnectionError` where its answer was cut).
        ValueError: the answer's status is not 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body or None, {"Content-Type": content} if body else {})
        response = connection.getresponse()
        data = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(repr(error)) from error
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(f"{method} {path}: {response.status} {data[:300].decode(errors='replace')}")
    return data if response.headers.get_content_type() == "image/png" else json.loads(data)


def documents(port: int) -> dict[str, list[dict[str, Any]]]:
    """Return the entries of the server's documents by name: more than one is a document too many."""
    entries_by_name = dict[str, list[dict[str, Any]]]()
    for entry in ask(port, "GET", f"{COLLECTION}/documents"):
        for name in entry["names"]:
            entries_by_name.setdefault(name, []).append(entry)
    return entries_by_name


class Writer:
    """Adds and removes, one request at a time, each until the server has reported it."""

    def __init__(self, port: int, path: Path) -> None:
        """Take a server's port and the journal's file, which is begun or gone on with."""
        self.port, self.path, self.journal = port, path, Journal.read(path)
        if path.is_file() and (text := path.read_bytes()) and not text.endswith(b"\n"):
            path.write_bytes(text[: text.rfind(b"\n") + 1])  # cut by a kill: it says nothing

    def note(self, line: str) -> None:
        """Write a line of the journal at once."""
        with self.path.open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())
        self.journal = Journal.read(self.path)

    def finish(self) -> None:
        """Do again what was begun and not reported."""
        for number in [number for number in self.journal.sent if number not in self.journal.added]:
            self.add(number, again=True)
        for number in sorted(self.journal.removing - self.journal.removed):
            self.remove(number)

    def add(self, number: int, *, again: bool = False) -> None:
        """Add a document until it is reported; one that was sent before may be there already."""
        if not again:
            self.note(f"sent {number}")
        boundary = "load-writer-boundary"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="'
            f'{file_name(number)}"\r\n'
            "Content-Type: application/pdf\r\n\r\n"
        )
        body = head.encode() + make_pdf(number) + f"\r\n--{boundary}--\r\n".encode()
        start = time.monotonic()
        while True:
            try:
                report = ask(
                    self.port,
                    "POST",
                    f"{COLLECTION}/documents",
                    body,
                    f"multipart/form-data; boundary={boundary}",
                )
            except OSError:
                self.wait(start)
                again = True
                continue
            names = report["added"] + (report["unchanged"] if again else [])
            if names != [file_name(number)] or report["skipped"]:
                self.note(f"error adding {number}: {json.dumps(report)}")
            self.note(f"added {number} {time.monotonic() - start:.3f}")
            return

    def remove(self, number: int) -> None:
        """Remove a document until it is reported, or not there any more."""
        start = time.monotonic()
        if number not in self.journal.removing:
            self.note(f"removing {number}")
        while True:
            try:
                for entry in documents(self.port).get(file_name(number), []):
                    ask(self.port, "DELETE", f"{COLLECTION}/documents/{quote(entry['id'], safe='')}")
            except OSError:
                self.wait(start)
                continue
            self.note(f"removed {number}")
            return

    def wait(self, start: float) -> None:
        """Wait for a server that is away.

        Raises:
            TimeoutError: it has been away for too long.
        """
        self.note("cut 0")
        if time.monotonic() - start > PATIENCE:
            raise TimeoutError(f"the server must come back within {PATIENCE:g} s.")
        time.sleep(0.5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write until killed, or finish what is open."""
    parser = argparse.ArgumentParser(description="The writer of load_api.py.")
    parser.add_argument("port", type=int)
    parser.add_argument("journal", type=Path)
    parser.add_argument("--live", type=int, default=60, help="documents that stay; older ones are removed")
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between two documents, on average")
    parser.add_argument("--finish", action="store_true", help="only finish what the journal has open")
    options = parser.parse_args(arguments)
    writer, chance = Writer(options.port, options.journal), random.Random(os.getpid())
    writer.finish()
    while not options.finish:
        writer.add(len(writer.journal.sent))
        if len(live := writer.journal.live) > options.live:
            writer.remove(live[0])
        time.sleep(chance.expovariate(1 / options.pause))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
