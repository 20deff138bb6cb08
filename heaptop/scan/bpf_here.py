"""Looking at this kernel's processes by BPF, where it has what that takes."""

import os

from heaptop.scan.bpf_records import StandIns
from heaptop.scan.bpf_scan import BpfScan
from heaptop.scan.btf import VMLINUX
from heaptop.scan.btf_cache import types_of


def make(stand_ins: StandIns | None = None, *, walks: bool = True) -> BpfScan:
    """See `BpfScan`."""
    types = types_of(f"/{VMLINUX}")
    try:
        return BpfScan(types, stand_ins, walks=walks)
    finally:
        types.keep()


def memory_files(prefix: bytes) -> StandIns:
    """The memfds whose names begin so, as stand-ins."""
    file = os.memfd_create("heaptop", os.MFD_CLOEXEC)
    try:
        device = os.fstat(file).st_dev
    finally:
        os.close(file)
    return StandIns(os.major(device) << 20 | os.minor(device), b"memfd:" + prefix)
