"""What MkDocs is told about our pages: links as they stand in the repository, and a reference by public
name.

The pages are written to be read in the repository: a link may lead to a file of the code. A site has no
such file, so the path stands there as text. README and CHANGELOG are pages of the site, too, from their
one source.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
WHOLE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
"""Files of the repository's top that are pages."""
INTEGRATIONS = {
    "langchain-mmrag": ["langchain_mmrag"],
    "llama-index-mmrag": [
        f"llama_index.{kind}.mmrag"
        for kind in ["embeddings", "postprocessor", "query_engine", "readers", "retrievers", "vector_stores"]
    ],
}
PROMISES = ["security.md", "reliability.md"]
TITLES = {
    "pipeline": "Documents and questions",
    "types": "Nouns",
    "documents": "Reading files",
    "embedders": "Embedders",
    "models": "Multimodal models",
    "index": "Indexes",
    "retriever": "Search",
    "rerank": "Rerankers",
    "answer": "Answers",
    "ingest": "Embedding again",
    "explanation": "Explanations",
    "errors": "Errors",
}
_FENCE = re.compile(r"(^```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")


def slug(value: str, separator: str) -> str:
    """Return the anchor that a heading has where the repository is read."""
    return re.sub(r"[^\w\- ]", "", value.strip().lower()).replace(" ", separator)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add to the navigation what is made here, and the pages that exist."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    for section in config.nav or ():
        if "Promises" in section:
            section["Promises"] += [name for name in PROMISES if (ROOT / "docs" / name).exists()]
        if "API reference" in section:
            section["API reference"] += [f"reference/{name}.md" for name in reference_pages()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README, CHANGELOG and the reference."""
    for source, target in WHOLE.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text("utf-8")))
    lines = [
        "# API reference",
        "",
        "What a program may import, by room; all else may change without a word.",
        "",
    ]
    for name, (title, paths) in reference_pages().items():
        lines.append(
            f"- [{title}]({name}.md): " + ", ".join(f"`{path.rsplit('.', 1)[-1]}`" for path in paths)
        )
        body = "\n".join(f"::: {path}\n" for path in paths)
        files.append(File.generated(config, f"reference/{name}.md", content=f"# {title}\n\n{body}"))
    files.append(File.generated(config, "reference/index.md", content="\n".join(lines)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links out of the site into the paths they name."""
    home = "." if page.file.src_uri in WHOLE.values() else "docs"
    parts = _FENCE.split(markdown)
    return "".join(
        part if part.startswith("```") else _LINK.sub(lambda found: link(found, home), part) for part in parts
    )


def link(found: re.Match[str], home: str) -> str:
    """Return a link as the site can follow it, or its text and the path."""
    mark, label, target = found.groups()
    if "://" in target or target.startswith(("#", "mailto:")):
        return found.group()
    path, hash_, anchor = target.partition("#")
    whole = ROOT.joinpath(home, path).resolve()
    if not whole.exists():
        return found.group()  # MkDocs says so
    inside = PurePosixPath(whole.relative_to(ROOT))
    if inside.is_relative_to("docs"):
        return f"{mark}[{label}]({inside.relative_to('docs')}{hash_}{anchor})"
    if str(inside) in WHOLE:
        return f"{mark}[{label}]({WHOLE[str(inside)]}{hash_}{anchor})"
    return label if inside.name in label else f"{label} (`{inside}`)"


def reference_pages() -> dict[str, tuple[str, list[str]]]:
    """Return name, title and dotted paths of each page of the reference; each public name is on one."""
    tree = ast.parse((ROOT / "mmrag" / "__init__.py").read_text("utf-8"))
    values = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in ("_MODULES", "__all__")
    }
    rooms: dict[str, list[str]] = {name: [] for name in TITLES}
    for name in values["__all__"]:
        module = values["_MODULES"].get(name, "mmrag.errors" if name == "MMRagError" else "mmrag.types")
        if name not in ("MMRagError", "__version__"):
            rooms[module.split(".")[1]].append(f"{module}.{name}")
    rooms["errors"] = ["mmrag.errors"]
    pages = {room: (TITLES[room], paths) for room, paths in rooms.items()}
    return pages | {name: (name, paths) for name, paths in INTEGRATIONS.items()}
