import pytest

from heaptop.analysis.budget import check_budget
from heaptop.errors import UsageError
from heaptop.model import Memory, Snapshot


def snapshot(available_bytes: int | None) -> Snapshot:
    memory = Memory(available_bytes=available_bytes)
    return Snapshot("kernel", None, None, None, 4096, (), (), (), (), (), (), memory)


def test_half_is_fine_and_a_page_more_is_not() -> None:
    check_budget(snapshot(4096 * 20), 4096, 10, "--force")
    with pytest.raises(
        UsageError,
        match=r"alloc of 44\.0 KiB: more than half of the 80\.0 KiB available; take less, or --force",
    ):
        check_budget(snapshot(4096 * 20), 4096, 11, "--force")


def test_sizes_are_rounded_up_to_pages() -> None:
    check_budget(snapshot(4096 * 20), 1, 10, "")
    with pytest.raises(UsageError):
        check_budget(snapshot(4096 * 20), 1, 11, "")


def test_unknown_memory_is_refused() -> None:
    with pytest.raises(UsageError, match="not known; --force"):
        check_budget(snapshot(None), 1, 1, "--force")
