"""`heaptop` and `python -m heaptop`."""

import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    try:
        from heaptop.cli.main import main as run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were still being loaded
        return 130


if __name__ == "__main__":
    sys.exit(main())
