"""Small snapshots made by hand."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from heaptop.model import Buffer, FdRef, Holder, Process, ProcessId, Snapshot, Source

TOLD = MappingProxyType({"name": (Source.FDINFO,)})


def holder(pid: int, comm: str = "app", fds: Sequence[int] = (3,)) -> Holder:
    return Holder(ProcessId(pid, pid * 100), comm, tuple(FdRef(fd) for fd in fds))


def buffer(
    inode: int,
    size_bytes: int | None = 4096,
    *,
    name: str | None = None,
    exporter: str | None = "system",
    holders: Sequence[Holder] = (),
    file_count: int | None = None,
    hidden_refs: int | None = None,
    heap: str | None = None,
    provenance: Mapping[str, tuple[Source, ...]] = TOLD,
) -> Buffer:
    return Buffer(
        inode=inode,
        size_bytes=size_bytes,
        exporter=exporter,
        name=name,
        file_count=file_count,
        hidden_refs=hidden_refs,
        attachments=None,
        fences=None,
        holders=tuple(holders),
        heap=heap,
        provenance=provenance,
    )


def process(
    pid: int, inodes: Sequence[int], *, comm: str = "app", uid: int | None = None, rss_bytes: int = 0
) -> Process:
    return Process(
        id=ProcessId(pid, pid * 100),
        comm=comm,
        uid=uid,
        cmdline=None,
        cgroup=None,
        oom_score_adj=None,
        rss_bytes=rss_bytes,
        pss_bytes=rss_bytes,
        inodes=tuple(inodes),
    )


def snapshot(
    *buffers: Buffer, processes: Sequence[Process] = (), boot_id: str | None = None, captured_at: float | None = None
) -> Snapshot:
    return Snapshot(
        source="test",
        kernel=None,
        boot_id=boot_id,
        captured_at=captured_at,
        page_bytes=4096,
        gaps=(),
        heaps=(),
        exporters=(),
        buffers=tuple(buffers),
        processes=tuple(processes),
        cma=(),
    )
