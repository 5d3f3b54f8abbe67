"""The command line, as ``python -m mmrag``."""

import sys

from mmrag.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
