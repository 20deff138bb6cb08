"""`heaptop` and `python -m heaptop`."""

import gc
import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    gc.disable()  # what is made while modules load, stays
    try:
        from heaptop.cli.main import main as run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were still being loaded
        return 130


if __name__ == "__main__":
    sys.exit(main())
