"""`heaptop selftest`: the heap ABI's behaviour, test by test, in TAP."""

import argparse
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.options import closest
from heaptop.cli.output import emit, narrate
from heaptop.errors import Exit, SourceError, UsageError, errno_text
from heaptop.units import printable

if TYPE_CHECKING:
    from heaptop.selftest.harness import Heap, Result

PROFILES: Final = ("mainline", "v4")
FOLDER: Final = "/dev/dma_heap"

MANUAL: Final = {
    "selftest": "Asks each heap (all, where none is named) what the ABI says it must do, and prints TAP 14: ALLOC with "
    "every good and bad argument, its errno and what it leaves open, mappings, SYNC, zeroed pages, names, sync files, "
    "import. It knows RFC v4 and mainline by themselves. Ends with 1 where a test fails; what kernels are known to do "
    "otherwise is TODO, what cannot be tested here SKIP. It takes at most 16 MiB of a heap at a time. On the emulator "
    "it runs under heaptop run --emulate, with the ABI of --profile.",
}


class Options(CommonOptions):
    """What was asked for."""

    heaps: tuple[str, ...] = ()
    profile: str | None = None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("heaps", metavar="HEAP", nargs="*", help="the heaps to test (default: all)")
    parser.add_argument("--profile", metavar="P", choices=PROFILES, help="the ABI of the emulator: mainline or v4")


def check(options: Options) -> None:
    """That the source has heaps to ask.

    Raises:
        UsageError: it has not, or is not the shared emulator.
    """
    if options.backend not in ("auto", "kernel", "emulator"):
        raise UsageError(
            f"selftest has nothing to ask of {printable(options.backend)}", "", "take -b kernel or -b emulator"
        )
    if options.profile is not None and options.backend == "kernel":
        raise UsageError("--profile says nothing to the kernel", "", "it is the emulator's ABI")


def run(options: Options) -> int:
    """Test, and tell.

    Raises:
        UsageError: no such heap.
        SourceError: there is none, or it may not be opened.
    """
    if options.backend == "emulator" or options.profile is not None or (options.backend == "auto" and not _names()):
        if options.backend == "auto":
            narrate("heaptop: this kernel has no dma-heaps: testing those of the emulator")
        return _under_emulation(options)
    heaps = _chosen(options.heaps)
    from heaptop.selftest.harness import TESTS

    emit(f"TAP version 14\n1..{len(TESTS) * len(heaps)}\n")
    counts: Counter[str] = Counter()
    for heap in heaps:
        emit(f"# {printable(heap.name)}: the ABI of {heap.abi()}\n")
        for result in heap.results():
            counts[result.directive or ("holds" if result.holds else "fails")] += 1
            emit(_lines(counts.total(), result))
    emit(
        f"# {counts['holds']} hold, {counts['fails']} fail, {counts['TODO']} known to fail, {counts['SKIP']} skipped\n"
    )
    return Exit.CHECK_FAILED if counts["fails"] else Exit.OK


def _under_emulation(options: Options) -> int:
    """This verb again, on the kernel that `heaptop run --emulate` shows it."""
    heaptop = [sys.executable, "-P", "-m", "heaptop"]
    profile = [] if options.profile is None else ["--profile", options.profile]
    command = [*heaptop, "run", "--emulate", "--no-stacks", "--quiet", *profile, "--"]
    command += [*heaptop, "selftest", "-b", "kernel", *options.heaps]
    sys.stdout.flush()
    os.execv(command[0], command)


def _names() -> list[str]:
    try:
        return sorted(os.listdir(FOLDER))
    except OSError:
        return []


def _chosen(wanted: tuple[str, ...]) -> "list[Heap]":
    """The heaps to test, each of which can be opened."""
    from heaptop.selftest.harness import Heap

    names = _names()
    if not names:
        raise SourceError("this kernel has no dma-heap", remedy="heaptop doctor says why; -b emulator has some")
    for name in wanted:
        if name not in names:
            raise UsageError(f"no heap {printable(name)!r}", remedy=closest(name, names))
    heaps = [Heap(name, f"{FOLDER}/{name}") for name in wanted or names]
    for heap in heaps:
        try:
            heap.abi()
        except OSError as error:
            why = errno_text(error.errno or 0)
            raise SourceError(printable(heap.path), why, "run as root, or join the heap's group") from error
    return heaps


def _lines(number: int, result: "Result") -> str:
    """A line of TAP, and a comment with the reason of a failure."""
    told = f"{'ok' if result.holds else 'not ok'} {number} - {printable(result.heap)}: {result.test}"
    if result.directive:
        return f"{told} # {result.directive} {printable(result.detail)}\n"
    return f"{told}\n" if result.holds else f"{told}\n# {printable(result.detail)}\n"
