"""`python -m tests.vm.boot [--kernel NAME] COMMAND...`: runs a command in a real kernel with dma-heaps; see machine.py.

Exit status: the command's; 124 where the guest came to no end, 125 where no guest can be had.
"""

import argparse
import sys

from tests.vm.kernels import STOCK, MissingError, find, names
from tests.vm.machine import GuestError, boot


def main() -> int:
    """Boot, run, pass the status on."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm.boot", description=__doc__)
    parser.add_argument("--kernel", default="6.12", help=f"one of: {', '.join(sorted({*names(), *STOCK}))}")
    parser.add_argument("--cma", default="64M", help="size of the CMA area, where the kernel has CMA")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS")
    parser.add_argument("--append", default="", help="more of the kernel's command line")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        return boot(
            find(options.kernel),
            options.command,
            sys.stdout.buffer,
            timeout_s=options.timeout,
            cma=options.cma,
            append=options.append,
        )
    except (MissingError, GuestError) as error:
        sys.stderr.write(f"heaptop-vm: {error}\n")
        return 124 if isinstance(error, GuestError) else 125


if __name__ == "__main__":
    sys.exit(main())
