"""The command ``mmrag``: one file per command, imported when it runs."""

from mmrag.cli.app import main

__all__ = ["main"]
