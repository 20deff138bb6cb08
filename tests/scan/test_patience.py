"""Work that hangs is given up, and what comes after it is done all the same."""

import threading

import pytest

from heaptop.scan.patience import Patience


def test_all_is_done_in_order() -> None:
    assert Patience(str).each(range(100)) == ({number: str(number) for number in range(100)}, ())
    assert Patience(str).each([]) == ({}, ())


def test_what_hangs_is_given_up_and_tried_again_when_it_is_free() -> None:
    gate = threading.Event()
    started: list[int] = []

    def work(number: int) -> int:
        started.append(number)
        if number in (2, 5):
            gate.wait()
        return number * 10

    patience = Patience(work, timeout_s=0.05)
    assert patience.each(range(7)) == ({0: 0, 1: 10, 3: 30, 4: 40, 6: 60}, (2, 5))
    threads = [thread for thread in threading.enumerate() if thread.name == "heaptop-reader"]
    assert len(threads) == 2
    assert all(thread.daemon for thread in threads)
    assert patience.each([1, 2]) == ({1: 10}, (2,))
    assert started.count(2) == 1
    gate.set()
    for thread in threads:
        thread.join()
    assert patience.each(range(7)) == ({number: number * 10 for number in range(7)}, ())


def test_a_bug_surfaces() -> None:
    def work(number: int) -> int:
        return 1 // number

    with pytest.raises(ZeroDivisionError):
        Patience(work).each([1, 0])
