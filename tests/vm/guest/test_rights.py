"""What each right opens: one capability, a namespace, and what --source leaves out."""

import os
import shutil
from collections.abc import Mapping

import pytest

from tests.vm.guest.conftest import Answer, document
from tests.vm.guest.truth import Json, Truth, holders_of, rows


def by_inode(answer: Json) -> Mapping[int, Json]:
    return {int(str(row["inode"])): row for row in rows(answer["buffers"])}


def gaps(answer: Json) -> list[str]:
    return [f"{gap['what']}: {gap['why']}; {gap['remedy']}" for gap in rows(answer["gaps"])]


@pytest.fixture(scope="module")
def tracer(truth: Truth, plain_user: int) -> Json:
    """What a plain user with CAP_SYS_PTRACE alone is told."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv here")
    user = (f"--reuid={plain_user}", f"--regid={plain_user}", "--clear-groups")
    return document("buffers", before=(setpriv, *user, "--inh-caps=+sys_ptrace", "--ambient-caps=+sys_ptrace"))


def test_cap_sys_ptrace_alone_shows_every_holder(truth: Truth, tracer: Json) -> None:
    """By fdinfo and maps: /proc/PID/fd is closed to all but its own user and root."""
    told = by_inode(tracer)
    for inode, true in truth.buffers.items():
        if true.holders:
            assert holders_of(told[inode]) == true.holders
    assert not [gap for gap in gaps(tracer) if "could not be read" in gap]


def test_cap_sys_ptrace_alone_tells_sizes_exporters_and_names_of_descriptors(truth: Truth, tracer: Json) -> None:
    told = by_inode(tracer)
    for inode, true in truth.buffers.items():
        if any(holder.fds for holder in true.holders):
            assert (told[inode]["size_bytes"], told[inode]["exporter"]) == (true.size_bytes, true.exporter)


def test_a_plain_user_is_told_how_to_open_the_heaps(truth: Truth, plain_user: int) -> None:
    if os.stat("/dev/dma_heap/system").st_mode & 0o004:
        pytest.skip("they are open to all here")
    told = gaps(document("heaps", uid=plain_user))
    (gap,) = [gap for gap in told if gap.startswith("allocating from")]
    assert 'SUBSYSTEM=="dma_heap"' in gap


def test_in_a_pid_namespace_of_its_own_it_says_so(truth: Truth) -> None:
    inside = document("buffers", before=("unshare", "--pid", "--fork", "--mount-proc"))
    assert [gap for gap in gaps(inside) if "pid namespace" in gap]
    assert all(not row["holders"] for row in rows(inside["buffers"]))


def test_in_the_first_pid_namespace_it_says_nothing(answer: Answer) -> None:
    assert not [gap for gap in gaps(answer("buffers")) if "pid namespace" in gap]


def test_what_source_leaves_out(truth: Truth) -> None:
    told = document("buffers", "--source", "-bufinfo,-bpf,-sysfs-buffers")
    assert [gap for gap in gaps(told) if gap.startswith("bufinfo, sysfs-buffers, bpf: switched off by --source")]
    assert all(row["attachments"] is None for row in rows(told["buffers"]))
    for inode, true in truth.buffers.items():
        if true.holders:
            assert holders_of(by_inode(told)[inode]) == true.holders


def test_bufinfo_alone(truth: Truth) -> None:
    told = by_inode(document("buffers", "--source", "bufinfo"))
    for inode, true in truth.buffers.items():
        assert (told[inode]["size_bytes"], told[inode]["exporter"]) == (true.size_bytes, true.exporter)
        assert told[inode]["holders"] == []


def test_doctor_tells_the_cost_of_what_it_can_read() -> None:
    for check in rows(document("doctor")["checks"]):
        if check["source"] is not None and check["readable"]:
            assert isinstance(check["cost_ms"], int | float), check
