"""``python -m mmrag.cli`` does what ``mmrag`` does."""

import sys

from mmrag.cli import main

if __name__ == "__main__":
    sys.exit(main())
