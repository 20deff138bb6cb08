"""The kernel backend's BPF: pinned iterators in a tree of their own, and programs that hang."""

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaptop.backend.kernel import KernelBackend
from heaptop.capture import Raw, ReadError
from heaptop.scan.bpf import LIST, PAGES, BpfSource

PINNED = b"18\n4194304\ncamera-preview\nsystem\n"


def pin(root: Path, name: str, text: bytes = PINNED) -> None:
    path = root / "sys/fs/bpf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


def bpf_files(root: Path, off: frozenset[str] = frozenset()) -> dict[str, Raw]:
    (root / "proc").mkdir()
    files = KernelBackend(str(root), off=off).capture().files
    return {path: raw for path, raw in files.items() if "bpf" in path}


def test_iterators_over_dma_bufs_are_read_and_nothing_else(tmp_path: Path) -> None:
    pin(tmp_path, "dmabuf_iter")
    pin(tmp_path, "memory/prog_dmabufIter")
    pin(tmp_path, "maps.debug", b"# WARNING")
    pin(tmp_path, "a/b/dmabuf_too_deep")
    assert bpf_files(tmp_path) == {"sys/fs/bpf/dmabuf_iter": PINNED, "sys/fs/bpf/memory/prog_dmabufIter": PINNED}


def test_switched_off(tmp_path: Path) -> None:
    pin(tmp_path, "dmabuf_iter")
    assert bpf_files(tmp_path, frozenset({"bpf"})) == {}


def test_this_kernel_is_not_asked_about_another_tree(tmp_path: Path) -> None:
    assert bpf_files(tmp_path) == {}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A kernel whose list of buffers is locked until this is set."""
    event = threading.Event()

    def read(_: BpfSource) -> dict[str, Raw]:
        event.wait()
        return {LIST: b"told", PAGES: b""}

    monkeypatch.setattr(BpfSource, "read", read)
    monkeypatch.setattr("heaptop.backend.kernel._BTF", "/")
    yield event
    event.set()


def test_a_lock_that_bufinfo_holds_does_not_stop_the_look(answers: threading.Event) -> None:
    backend = KernelBackend(timeout_s=0.05, off=frozenset({"fd", "fdinfo", "maps", "bufinfo"}))
    assert backend.capture().files[LIST] == ReadError("read", errno.ETIMEDOUT)
    answers.set()
    for _ in range(100):
        files = backend.capture().files
        if files[LIST] == b"told":
            break
    assert files[PAGES] == b""
    backend.close()
