"""``python -m ternary_lib`` is the command line."""

import sys

from ternary_lib.cli import main

sys.exit(main())
