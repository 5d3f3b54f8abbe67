"""pytest's importlib mode does not put a test's folder on the path; `fake_model` is there."""

from __future__ import annotations

import sys
from pathlib import Path

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))
