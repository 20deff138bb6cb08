"""No bytes make a parser raise anything but ParseError."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse import (
    bufinfo,
    cgroup,
    cma_debugfs,
    cma_sysfs,
    cmdline,
    comm,
    dma_heap,
    dmabuf_sysfs,
    fdinfo,
    kernel,
    maps,
    meminfo,
    oom_score_adj,
    pagetypeinfo,
    stat,
    statm,
    status,
    vmstat,
)
from tests.conftest import CaptureDir
from tests.parse import hostile

CAPTURE = "7.2.13-x86_64"
Parser = Callable[[bytes], object]
PARSERS: tuple[tuple[Parser, str], ...] = (
    (bufinfo.parse, "sys/kernel/debug/dma_buf/bufinfo"),
    (cgroup.parse, "proc/81/cgroup"),
    (cma_debugfs.bitmap, "sys/kernel/debug/cma/reserved/ranges/0/bitmap"),
    (cma_debugfs.number, "sys/kernel/debug/cma/reserved/count"),
    (cma_debugfs.order_per_bit, "sys/kernel/debug/cma/reserved/order_per_bit"),
    (cma_sysfs.counter, "sys/kernel/mm/cma/reserved/total_pages"),
    (cmdline.parse, "proc/81/cmdline"),
    (comm.parse, "proc/88/comm"),
    (dma_heap.parse, "dev.ls"),
    (dma_heap.device, "sys/devices/virtual/dma_heap/system/dev"),
    (dmabuf_sysfs.exporter_name, "proc/81/comm"),
    (dmabuf_sysfs.size, "sys/kernel/mm/cma/reserved/total_pages"),
    (dmabuf_sysfs.map_counter, "sys/kernel/mm/cma/reserved/total_pages"),
    (fdinfo.parse, "proc/88/fdinfo/15"),
    (fdinfo.common, "proc/88/fdinfo/15"),
    (kernel.osrelease, "proc/sys/kernel/osrelease"),
    (kernel.version, "proc/version"),
    (kernel.boot_id, "proc/sys/kernel/osrelease"),
    (kernel.numbers, "proc/sys/kernel/osrelease"),
    (maps.parse, "proc/84/maps"),
    (maps.dmabufs, "proc/84/maps"),
    (meminfo.parse, "proc/meminfo"),
    (oom_score_adj.parse, "proc/81/oom_score_adj"),
    (pagetypeinfo.parse, "proc/pagetypeinfo"),
    (stat.parse, "proc/88/stat"),
    (statm.parse, "proc/81/statm"),
    (status.parse, "proc/88/status"),
    (vmstat.parse, "proc/vmstat"),
)


def only_parse_errors(parse: Parser, data: bytes) -> None:
    line = 1
    try:
        parse(data)
    except ParseError as error:
        line = error.line
    assert 1 <= line <= data.count(b"\n") + 1


@given(st.binary() | hostile.names(200))
def test_any_bytes(data: bytes) -> None:
    for parse, _ in PARSERS:
        only_parse_errors(parse, data)


@pytest.mark.parametrize(("parse", "path"), PARSERS)
def test_changed_real_files(parse: Parser, path: str, capture_dir: CaptureDir) -> None:
    real = (capture_dir(CAPTURE) / path).read_bytes()[:4000]

    @given(st.data())
    def check(data: st.DataObject) -> None:
        begin = data.draw(st.integers(0, len(real)))
        end = data.draw(st.integers(begin, len(real)))
        middle = data.draw(st.binary(max_size=8) | hostile.names() | st.sampled_from((b"9" * 5000, b"\n" * 3, b"\t")))
        only_parse_errors(parse, real[:begin])
        only_parse_errors(parse, real[:begin] + middle + real[end:])

    check()
