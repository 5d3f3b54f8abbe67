"""Measure the house: rooms, loose files, circles of imports, lines room by room, functions, names.

    python scripts/house.py [ROOT]

Prints a Markdown table of the package under ROOT/mmrag (default: this checkout). A
function's lines are those from ``def`` to its end, docstring included.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from test_words import bound_names, is_lone  # the laws of names are written once, there


def modules(root: Path) -> dict[str, Path]:
    names = {}
    for path in sorted((root / "mmrag").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        names[".".join(parts).removesuffix(".__init__")] = path
    return names


def room(root: Path, path: Path) -> str:
    parts = path.relative_to(root / "mmrag").parts
    return parts[0] if len(parts) > 1 else "loose files"


def imports(name: str, path: Path, names: dict[str, Path]) -> set[str]:
    """Modules that a file imports, lazily or for typing too; ``from room import module`` names the module."""
    targets: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            targets |= parts & set(names) or {node.module}
    return targets & set(names) - {name}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that reach each other."""

    def reach(start: str) -> set[str]:
        seen, todo = set(), [start]
        while todo:
            for target in graph[todo.pop()] - seen:
                seen.add(target)
                todo.append(target)
        return seen

    reachable = {name: reach(name) for name in graph}
    rings = {
        frozenset({other for other in reachable[name] if name in reachable[other]} | {name})
        for name in graph
        if name in reachable[name]
    }
    return [set(ring) for ring in rings]


def function_lengths(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield (node.end_lineno or 0) - node.lineno + 1


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]).resolve()
    names = modules(root)
    rows: dict[str, list[Path]] = {}
    for path in names.values():
        rows.setdefault(room(root, path), []).append(path)
    rings = circles({name: imports(name, path, names) for name, path in names.items()})
    loose = [path.name for path in (root / "mmrag").glob("*.py") if path.name != "__init__.py"]
    folders = {
        path.relative_to(root / "mmrag").parts[0] for path in names.values() if path.parent != root / "mmrag"
    }
    print(f"rooms {len(folders - {'samples'})}, loose files {len(loose)}, circles between files {len(rings)}")
    print()
    print("| room | files | lines | longest file | functions | median | p90 | lone names |")
    print("|---|---|---|---|---|---|---|---|")
    for name in sorted(rows):
        print_row(name, rows[name])
    print_row("**all**", list(names.values()))


def print_row(name: str, paths: list[Path]) -> None:
    texts = [path.read_text(encoding="utf-8") for path in paths]
    trees = [ast.parse(text) for text in texts]
    lengths = sorted(length for tree in trees for length in function_lengths(tree))
    bound = [word for tree in trees for _, word in bound_names(tree)]
    lone = sum(map(is_lone, bound))
    longest = max((text.count("\n"), path.name) for path, text in zip(paths, texts, strict=True))
    middle = f"{statistics.median(lengths):g}" if lengths else "-"
    tail = f"{lengths[int(0.9 * (len(lengths) - 1))]}" if lengths else "-"
    total = sum(text.count("\n") for text in texts)
    print(
        f"| {name} | {len(paths)} | {total:,} | {longest[0]} ({longest[1]}) "
        f"| {len(lengths)} | {middle} | {tail} | {lone} ({lone / max(1, len(bound)):.1%}) |"
    )


if __name__ == "__main__":
    main()
