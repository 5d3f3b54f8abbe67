"""Help: what it shows, what it costs, and on how much screen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mmrag.cli import main
from mmrag.cli.app import COMMANDS, parse
from mmrag.cli.command import Entry, flatten, load
from mmrag.cli.common import SearchOptions
from mmrag.cli.train import _Stages


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main([*arguments, "--help"]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_help_names_every_command_and_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys)
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    words = [line.split()[0] for line in lines if line.startswith("  ") and line.split()]
    assert [name for name in COMMANDS if name not in words] == []


@pytest.mark.parametrize("name", [*COMMANDS, *(f"train {stage}" for stage in _Stages.table)])
def test_every_command_has_a_help_in_panels(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, *name.split())
    assert lines[0].startswith(f"Usage: mmrag {name} ")
    assert max(map(len, lines)) <= 80
    panels = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert len(panels) == len(set(panels)) >= 1


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [(["--help"], []), (["search", "--help"], ["mmrag.cli.search"]), (["nonsense"], [])],
)
def test_a_command_is_imported_when_it_runs_or_its_help_is_shown(
    arguments: list[str], loaded: list[str]
) -> None:
    modules = [entry.target.partition(":")[0] for entry in COMMANDS.values()]
    heavy = ["numpy", "chromadb", "rich", "mmrag.pipeline"]
    script = (
        "import sys; from mmrag.cli import main; main(sys.argv[1:]); "
        f"print(*(name for name in {modules + heavy} if name in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert run.stdout.splitlines()[-1].split() == loaded, run.stderr


def test_an_option_group_becomes_parameters_and_is_built_again() -> None:
    calls = []

    def command(search: SearchOptions, other: int = 1) -> int:
        calls.append((search, other))
        return 3

    run = flatten(command, "mmrag command")
    values = {"k": 7, "budget": None, "filter": None, "exact": True, "look_again": 0, "other": 2}
    with pytest.raises(Exception) as end:
        run(**values)
    assert end.value.exit_code == 3
    assert calls == [(SearchOptions(k=7, exact=True), 2)]


def test_parsing_runs_nothing_and_gives_the_command_with_its_options() -> None:
    context = parse(["train", "contrast", "--config", "c.yaml", "--check"])
    assert context.info_name == "contrast"
    assert (str(context.params["config"]), context.params["check"]) == ("c.yaml", True)
    context = parse(["serve", "m", "--port", "0", "--", "--dtype", "float32"])
    assert (context.params["model"], list(context.params["extra"])) == ("m", ["--dtype", "float32"])


def test_an_entry_is_loaded_under_its_own_name() -> None:
    entry = Entry("mmrag.cli.manage:status", "List the files in an index.")
    assert load(entry, "mmrag status").name == "status"
