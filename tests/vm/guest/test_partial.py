"""Where not all can be read, the answer is a subset of the truth, and says what is missing and how to get it."""

from collections.abc import Iterable, Mapping

import pytest

from tests.vm.guest.conftest import document
from tests.vm.guest.truth import Json, Truth, bytes_of, holders_of, rows

NO_DEBUGFS = (
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    'umount /sys/kernel/debug && exec "$@"',
    "sh",
)


@pytest.fixture(scope="module")
def plain(truth: Truth, plain_user: int) -> Json:
    """What a plain user is told."""
    return document("buffers", uid=plain_user)


@pytest.fixture(scope="module")
def without_debugfs(truth: Truth) -> Json:
    """What root is told where debugfs is not mounted."""
    return document("buffers", before=NO_DEBUGFS)


def by_inode(answer: Json) -> Mapping[int, Json]:
    return {int(str(row["inode"])): row for row in rows(answer["buffers"])}


def assert_subset(told: Iterable[Json], truth: Truth) -> None:
    for row in told:
        true = truth.buffers[int(str(row["inode"]))]
        assert row["size_bytes"] in {None, true.size_bytes}
        assert row["exporter"] in {None, true.exporter}
        assert bytes_of(row["name"]) in {None, true.name}
        assert holders_of(row) <= true.holders


def test_a_plain_user_sees_a_part(truth: Truth, plain: Json, plain_user: int) -> None:
    assert_subset(rows(plain["buffers"]), truth)
    for inode in truth.inodes("other_user"):  # that user's own
        assert holders_of(by_inode(plain)[inode]) == truth.buffers[inode].holders
    seen = {held.pid for row in rows(plain["buffers"]) for held in holders_of(row)}
    assert seen == {hold.pid for hold in truth.holds if hold.uid == plain_user}


def test_a_plain_user_learns_what_is_missing(plain: Json) -> None:
    gaps = list(rows(plain["gaps"]))
    assert all(gap["what"] and gap["why"] for gap in gaps)
    assert any("process" in str(gap["what"]) + str(gap["why"]) and gap["remedy"] for gap in gaps), gaps
    assert any("bufinfo" in str(gap) and gap["remedy"] for gap in gaps), gaps


def test_without_debugfs_all_that_proc_shows_is_there(truth: Truth, without_debugfs: Json) -> None:
    assert_subset(rows(without_debugfs["buffers"]), truth)
    told = by_inode(without_debugfs)
    for inode, true in truth.buffers.items():
        if true.holders:
            assert holders_of(told[inode]) == true.holders


def test_without_debugfs_there_is_a_remedy(without_debugfs: Json) -> None:
    gaps = [gap for gap in rows(without_debugfs["gaps"]) if "bufinfo" in str(gap)]
    assert len(gaps) == 1
    assert "mount" in str(gaps[0]["remedy"])
