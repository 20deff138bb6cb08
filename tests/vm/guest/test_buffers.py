"""`heaptop buffers --json` equals the workload's ground truth."""

from collections.abc import Mapping

import pytest

from tests.vm.guest.conftest import Answer
from tests.vm.guest.kernel_text import bufinfo
from tests.vm.guest.truth import WAYS, Json, Truth, bytes_of, holders_of, number


@pytest.fixture(params=WAYS)
def inodes(request: pytest.FixtureRequest, truth: Truth) -> frozenset[int]:
    """The buffers that are held in each way in turn."""
    if request.param in truth.left_out:
        pytest.skip(f"this kernel does not offer it: {truth.left_out[request.param]}")
    return truth.inodes(request.param)


def test_the_kernel_is_the_source(answer: Answer) -> None:
    assert answer("buffers")["source"] == "kernel"


def test_root_has_no_gap(answer: Answer) -> None:
    assert [gap for gap in answer("buffers")["gaps"] if "CMA" not in str(gap)] == []  # type: ignore[attr-defined]


def test_every_buffer_once(truth: Truth, answer: Answer, buffers: Mapping[int, Json]) -> None:
    listed = answer("buffers")["buffers"]
    assert isinstance(listed, list)
    assert len(listed) == len(buffers)
    assert buffers.keys() == truth.buffers.keys()


def test_what_it_is(inodes: frozenset[int], truth: Truth, buffers: Mapping[int, Json]) -> None:
    for inode in inodes:
        told, true = buffers[inode], truth.buffers[inode]
        assert told["size_bytes"] == true.size_bytes
        assert told["exporter"] == true.exporter
        assert bytes_of(told["name"]) == true.name
        assert bool(told["attachments"]) is true.is_attached


def test_who_holds_it(inodes: frozenset[int], truth: Truth, buffers: Mapping[int, Json]) -> None:
    for inode in inodes:
        assert holders_of(buffers[inode]) == truth.buffers[inode].holders


def test_hidden_references(inodes: frozenset[int], truth: Truth, buffers: Mapping[int, Json]) -> None:
    rows = bufinfo()
    for inode in inodes:
        told, true = buffers[inode], truth.buffers[inode]
        assert told["file_count"] == rows[inode].file_count
        assert (number(told["hidden_refs"]) >= 1) is true.is_hidden
        assert told["hidden_refs"] == rows[inode].file_count - true.visible_refs
