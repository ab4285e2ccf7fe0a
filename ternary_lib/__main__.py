"""``python -m ternary_lib``, and ``ternary``, are the command line."""

import sys


def run() -> int:
    """The command line; Ctrl-C ends it in one line from the first moment, while its parts are still being imported."""
    try:
        from ternary_lib.cli import main

        return main()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
