"""`heaptop doctor`: what can be read here, and how to get the rest."""

import os
import re
from typing import Final

from heaptop.assemble import assemble
from heaptop.cli.output import emit, look_of
from heaptop.cli.parser import Options
from heaptop.cli.source import opened
from heaptop.errors import Exit
from heaptop.model import Snapshot
from heaptop.report.doctor import Check, Probes, document, examine, render
from heaptop.units import printable

BPF_ITERATOR: Final = b"\0bpf_iter__dmabuf\0"
"""The iterator's context in the kernel's BTF strings (kernel/bpf/dmabuf_iter.c, 6.16 on)."""


def run(options: Options) -> int:
    """Look at the kernel (or at what -b names) and say what it lets heaptop read.

    Raises:
        SourceError, RecordingError: the source cannot be opened.
    """
    if options.backend == "auto":
        options.backend = "kernel"
    with opened(options) as backend:
        capture = backend.capture()
        snapshot = assemble(capture)
        heaps = tuple(heap.name for heap in snapshot.heaps)
        checks = examine(capture, heaps, _probe(options.root, heaps) if backend.source == "kernel" else None)
    _print(checks, snapshot, options)
    return Exit.OK if any(check.readable for check in checks) else Exit.UNAVAILABLE


def _print(checks: tuple[Check, ...], snapshot: Snapshot, options: Options) -> None:
    if options.json:
        from heaptop.report import json

        emit(json.dumps(document(checks, snapshot)))
    elif options.csv:
        from heaptop.report import csv

        header = ("name", "there", "readable", "detail", "adds", "remedy")
        emit(csv.dumps([header, *((c.name, c.there, c.readable, c.detail, c.adds, c.remedy) for c in checks)]))
    else:
        readable = sum(bool(check.readable) for check in checks)
        heading = printable(f"{snapshot.source} ({snapshot.kernel or '~'}): {readable} of {len(checks)} can be read")
        emit(render(checks, heading, look_of(options)))


def _probe(root: str, heaps: tuple[str, ...]) -> Probes:
    status = _text(os.path.join(root, "proc/self/status"))
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return Probes(
        uid=os.geteuid(),
        capabilities=int(effective[1], 16) if effective else 0,
        debugfs_mounted=bool(
            re.search(r"^\S+ /sys/kernel/debug debugfs ", _text(os.path.join(root, "proc/mounts")), re.MULTILINE)
        ),
        bpf_iterator=_has_bpf_iterator(os.path.join(root, "sys/kernel/btf/vmlinux")),
        locked_heaps=tuple(name for name in heaps if not os.access(os.path.join(root, "dev/dma_heap", name), os.R_OK)),
    )


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1 << 20)
    except OSError:
        return ""


def _has_bpf_iterator(path: str) -> bool | None:
    try:
        with open(path, "rb") as file:
            return BPF_ITERATOR in file.read(64 << 20)
    except OSError:
        return None
