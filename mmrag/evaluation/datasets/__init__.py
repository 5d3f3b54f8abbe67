"""Published benchmarks, from a local copy in the layout they are published in, as packs.

`make_pack` writes a folder that `mmrag.evaluation.load_pack` and ``mmrag evaluate`` read; ``mmrag pack`` is
the same on the command line. Nothing is fetched: where a file is missing the error says what to fetch and
where it goes. ``docs/evaluation.md`` has the table of layouts.
"""

from mmrag.evaluation.datasets.layouts import LAYOUTS, Layout, make_pack
from mmrag.evaluation.datasets.writer import Summary

__all__ = ["LAYOUTS", "Layout", "Summary", "make_pack"]
