"""What `--source` switches: the ways in which a kernel tells of buffers and CMA areas, by name."""

from collections.abc import Iterable, Mapping
from typing import Final

from heaptop.errors import UsageError
from heaptop.units import printable

OPTION: Final = "--source"

SOURCES: Final[Mapping[str, str]] = {
    "fd": "which descriptors of processes are buffers, by their links",
    "fdinfo": "what the kernel says of each such descriptor",
    "maps": "mappings of processes",
    "tasks": "fd tables and mappings that only threads have",
    "bufinfo": "/sys/kernel/debug/dma_buf/bufinfo",
    "sysfs-buffers": "/sys/kernel/dmabuf/buffers",
    "bpf": "the kernel's own list of buffers, and who holds them, by BPF",
    "debugfs-cma": "/sys/kernel/debug/cma",
    "sysfs-cma": "/sys/kernel/mm/cma",
    "vmstat": "/proc/vmstat",
    "stacks": "call stacks of allocations, from each heaptop that watches a program",
}
"""All of them. Who the kernel is, its memory and its heaps are always asked: nothing could be shown without."""

PROCESSES: Final = frozenset({"fd", "fdinfo", "maps"})
"""Those that are a pass over all processes; without any of them there is none."""

LIBRARY_WORDS: Final = (
    *(b"/libdmabufheap", b"/libion", b"gralloc", b"/android.hardware.graphics.", b"/libgbm", b"/libdrm"),
)
"""What stands in the paths of libraries that buffers are commonly allocated through."""

_PATHS: Final = {
    "sys/kernel/debug/dma_buf/bufinfo": "bufinfo",
    "sys/kernel/dmabuf/buffers": "sysfs-buffers",
    "bpf": "bpf",
    "sys/fs/bpf": "bpf",
    "sys/kernel/debug/cma": "debugfs-cma",
    "sys/kernel/mm/cma": "sysfs-cma",
    "proc/vmstat": "vmstat",
    "heaptop/stacks": "stacks",
}


def source_of(path: str) -> str | None:
    """The source that a system-wide path of a capture belongs to; None where it cannot be switched off."""
    return next((name for prefix, name in _PATHS.items() if path == prefix or path.startswith(prefix + "/")), None)


def switched_off(choices: Iterable[str]) -> frozenset[str]:
    """What `--source` leaves out. Each choice is names with commas between: `NAME` picks, `-NAME` leaves out.

    Raises:
        UsageError: an unknown name, or nothing is left.
    """
    words = [word.strip() for choice in choices for word in choice.split(",")]
    for word in words:
        if word.removeprefix("-") not in SOURCES:
            raise UsageError(f"{OPTION}: no source {printable(word)!r}", "", f"choose from {', '.join(SOURCES)}")
    picked = {word for word in words if not word.startswith("-")} or SOURCES.keys()
    left = picked - {word.removeprefix("-") for word in words if word.startswith("-")}
    if not left or (left == {"tasks"}):
        why = "threads are looked at with fd, fdinfo or maps only" if left else "nothing is left to look at"
        raise UsageError(f"{OPTION} {printable(','.join(words))}", why, "take some more")
    return frozenset(SOURCES.keys() - left)
