"""`heaptop` and `python -m heaptop`."""

import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    from heaptop.cli.main import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
