"""Every page of README and docs: its links lead to files, its blocks compile, its commands are some.

Which blocks run, and which do not and why: `tests/code_blocks.py`; the run itself: `tests/test_docs_run.py`.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator

import pytest

from mmrag.cli.app import parse
from mmrag.errors import MissingExtraError

from .code_blocks import EVERY, LIST, PAGES, ROOT, blocks_of, is_listed, listed

PYTHON = [block for page in PAGES for block in blocks_of(page) if block.language == "python"]
COMMANDS = [(page, command) for page in PAGES for block in blocks_of(page) for command in block.commands]
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
FOREIGN = {"cd", "curl", "export", "hf", "sudo", "tar", "unzip", "vllm"}
"""First words of commands that are others'."""
ELSEWHERE = {"docs/hosts.md"}
"""Pages that speak of a folder which is not this one."""


def test_every_link_leads_to_a_file() -> None:
    dead = []
    for path in PAGES.values():
        text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
        dead += [f"{path.name}: {link}" for link in links if not (path.parent / link).exists()]
    assert dead == []


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{block.page}-{block.code[:30]!r}")
def test_a_block_compiles_and_what_it_imports_takes_what_it_is_given(block) -> None:
    """Also for what does not run: a name that went, or an argument that has another name now, is found."""
    compile(block.code, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    tree = ast.parse(block.code)
    names = dict(imported(tree))
    for call in ast.walk(tree):
        target = value_of(call.func, names) if isinstance(call, ast.Call) else None
        if target is not None:
            arguments = {word.arg: None for word in call.keywords if word.arg}
            inspect.signature(target).bind_partial(*[None for _ in call.args], **arguments)


def imported(tree: ast.AST) -> Iterator[tuple[str, object]]:
    """Names of our own that a block imports, where their packages are installed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and "mmrag" in node.module and is_installed(node.module):
            for alias in node.names:
                with contextlib.suppress(MissingExtraError):
                    value = getattr(importlib.import_module(node.module), alias.name)
                    yield alias.asname or alias.name, value
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "mmrag":
                    yield "mmrag", importlib.import_module("mmrag")


def is_installed(module: str) -> bool:
    """Whether a module and what it needs can be imported; mmrag's own rooms may need an extra."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "mmrag":
            raise
        return False
    return True


def value_of(node: ast.expr, names: dict[str, object]) -> object | None:
    """What a dotted name means, where it begins with one of `names` and is a function or a class."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = value_of(node.value, names)
        return getattr(owner, node.attr) if inspect.isclass(owner) or inspect.ismodule(owner) else None
    return None


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: value)
def test_a_command_is_one_and_its_flags_and_files_are_there(page: str, command: str) -> None:
    head, *words = shlex.split(command)
    program = head.rsplit("/", 1)[-1]
    if head in FOREIGN:
        assert is_listed(page, command)
    elif program == "mmrag":
        assert parse(words).info_name
    elif program == "make":
        targets = [word for word in words if "=" not in word]
        assert targets and all(re.search(rf"^{target}:", MAKEFILE, re.M) for target in targets)
        assert all(f"$({word.partition('=')[0]}" in MAKEFILE for word in words if "=" in word)
    elif program == "pip" and words[0] == "install":
        check_install(words[1:])
    elif program == "pip":
        assert words[0] == "download" and is_listed(page, command)
    elif page not in ELSEWHERE:
        assert program in ("python", "python3", "pytest")
        check_python(words if program != "pytest" else ["-m", "pytest", *words])


def check_install(words: list[str]) -> None:
    for word in words:
        folder, _, extras = word.partition("[")
        if folder.startswith("."):
            assert (ROOT / folder / "pyproject.toml").is_file()
        if folder in (".", "mmrag") and extras:
            assert all(re.search(rf"^{extra} = \[", PROJECT, re.M) for extra in extras.strip("]").split(","))


def check_python(words: list[str]) -> None:
    if words[0] == "-c":
        compile(words[1], "-c", "exec")
    elif words[0] == "-m":
        paths = [word for word in words[2:] if word.startswith("tests")]
        assert words[1] in ("pytest", "venv") and [path for path in paths if not (ROOT / path).exists()] == []
    else:
        script = (ROOT / words[0]).read_text("utf-8")
        beside = [path.read_text("utf-8") for path in (ROOT / words[0]).parent.glob("*.py")]
        flags = [word for word in words if word.startswith("--")]
        assert [flag for flag in flags if not any(f'"{flag}"' in text for text in [script, *beside])] == []


def test_the_list_of_what_does_not_run_names_what_is_there() -> None:
    texts = [(block.page, block.code) for block in PYTHON] + COMMANDS
    for row in listed():
        assert row.pieces and row.why and (row.page == EVERY or row.page in PAGES), row
        for piece in row.pieces:
            assert any(row.page in (page, EVERY) and piece in text for page, text in texts), (row.page, piece)


def test_the_list_is_of_the_site() -> None:
    assert LIST.name in (ROOT / "scripts" / "site" / "mkdocs.yml").read_text("utf-8")
