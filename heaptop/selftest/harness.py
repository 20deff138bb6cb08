"""Runs the tests of a heap, each with nothing left behind, and says how they went."""

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from heaptop.selftest import buffers, requests
from heaptop.selftest.probe import Failed, KnownError, Probe, Skipped

TESTS: Final = (*requests.TESTS, *buffers.TESTS)


class Result(NamedTuple):
    """How one test went. `directive` is TAP's: SKIP, TODO or empty; `detail` why."""

    heap: str
    test: str
    holds: bool
    directive: str = ""
    detail: str = ""


class Heap(NamedTuple):
    """A heap to test, and which ABI it speaks."""

    name: str
    path: str

    def abi(self) -> str:
        """`RFC v4` or `mainline`. OSError where it cannot be opened."""
        node = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            return "RFC v4" if Probe(node, self.name).is_v4 else "mainline"
        finally:
            os.close(node)

    def results(self) -> Iterator[Result]:
        """One a test. OSError where it cannot be opened."""
        node = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            for test in TESTS:
                yield self._result(Probe(node, self.name), test)
        finally:
            os.close(node)

    def _result(self, probe: Probe, test: "requests.Test") -> Result:
        what = (test.__doc__ or test.__name__).strip().removesuffix(".")
        try:
            test(probe)
        except Skipped as why:
            return Result(self.name, what, holds=True, directive="SKIP", detail=str(why))
        except KnownError as why:
            return Result(self.name, what, holds=False, directive="TODO", detail=str(why))
        except (Failed, OSError) as why:
            return Result(self.name, what, holds=False, detail=str(why))
        finally:
            probe.clean()
        return Result(self.name, what, holds=True)
