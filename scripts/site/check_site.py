"""Check a built site: links and anchors lead somewhere in it, and nothing is fetched at view time.

    python scripts/site/check_site.py FOLDER

Prints each fault in a line; exit code 1 where there is one. Links of text to the web are allowed;
scripts, styles, pictures, fonts and frames of another host are not.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
KINDS = {
    "stylesheet",
    "icon",
    "preload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "manifest",
    "modulepreload",
}
"""What a browser fetches of a `<link>` by itself."""


class Reader(HTMLParser):
    """Links, loads and anchors of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag leads to, loads or is called."""
        fields = {name: value or "" for name, value in attrs}
        self.anchors |= {fields[name] for name in ("id", "name") if name in fields}
        if tag == "a" and "href" in fields:
            self.links.append(fields["href"])
        if tag in LOADS and (tag != "link" or set(fields.get("rel", "").split()) & KINDS):
            self.loads.append(fields.get(LOADS[tag], ""))


def faults(folder: Path) -> list[str]:
    """Lines of what is wrong with the site in this folder."""
    pages = {path.resolve(): Reader() for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        page.feed(path.read_text("utf-8"))
    lines = [f"{folder} must hold a site, got no page. Run `make docs`."] if not pages else []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        if name.name == "404.html":  # its links are those of a server's root
            continue
        for target in page.loads + page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loads and parts.scheme != "data":
                    lines.append(f"{name} loads {target}")
                continue
            aim = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            aim = aim / "index.html" if aim.is_dir() else aim
            if not aim.exists():
                lines.append(f"{name} leads to {target}, which is not there")
            elif parts.fragment and aim in pages and unquote(parts.fragment) not in pages[aim].anchors:
                lines.append(f"{name} leads to {target}, which has no such anchor")
    for style in sorted(folder.rglob("*.css")):
        found = re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^)\"']+)", style.read_text("utf-8"))
        lines += [f"{style.name} loads {address}" for address in found]
    return lines


if __name__ == "__main__":
    found = faults(Path(sys.argv[1]))
    print(
        "\n".join(found)
        or f"{sys.argv[1]}: every link leads somewhere, and nothing is loaded from elsewhere."
    )
    sys.exit(bool(found))
