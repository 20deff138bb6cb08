"""Hand-made snapshots: every value that a report can meet, and text as hostile as the kernel lets it be."""

from types import MappingProxyType

from heaptop.model import (
    Buffer,
    CmaArea,
    CmaRange,
    ExporterTotal,
    FdRef,
    Fence,
    Gap,
    Heap,
    Holder,
    MapRef,
    Memory,
    Process,
    ProcessId,
    Snapshot,
    Source,
)

MIB = 1 << 20
EVIL = "evil\nsize:\t999\x1b[31m[/x]\udcff"
FORMULA = '=cmd|" /c calc"!A1'

CAMERA = ProcessId(812, 4711)
VIEWER = ProcessId(815, 4812)
NAMED = MappingProxyType({"name": (Source.FDINFO, Source.FD_LINK), "size_bytes": (Source.FD_STAT,)})


def buffer(inode: int, **values: object) -> Buffer:
    """A buffer of which nothing is known but its inode and `values`."""
    fields: dict[str, object] = {
        "size_bytes": None,
        "exporter": None,
        "name": None,
        "file_count": None,
        "hidden_refs": None,
        "attachments": None,
        "fences": None,
        "holders": (),
    }
    return Buffer(inode, **{**fields, **values})  # type: ignore[arg-type]


SHARED = buffer(
    62,
    size_bytes=2 * MIB,
    exporter="system",
    heap="system",
    name="shared-frame",
    file_count=4,
    hidden_refs=0,
    attachments=("soc:display",),
    fences=(Fence("write", "drm_sched asahi seq 5", signalled=True),),
    holders=(
        Holder(CAMERA, "cameraserver", (FdRef(21, None, 0o2), FdRef(21, 830, 0o2), FdRef(14, None, None))),
        Holder(VIEWER, EVIL, (), (MapRef(0x7F0000000000, 2 * MIB, 0, "rw-s"),)),
    ),
    provenance=NAMED,
)
ORPHAN = buffer(
    11, size_bytes=512 << 10, exporter="system", heap="system", name=EVIL, file_count=1, hidden_refs=1, provenance=NAMED
)
UNNAMED = buffer(
    78,
    size_bytes=64 * MIB,
    exporter="reserved",
    heap="reserved",
    file_count=1,
    hidden_refs=0,
    holders=(Holder(CAMERA, "cameraserver"),),
    provenance=NAMED,
)
UNTOLD = buffer(90)
FORGED = buffer(
    91, size_bytes=4096, exporter="drm", name=FORMULA, holders=(Holder(VIEWER, EVIL, (FdRef(3),)),), provenance=NAMED
)

AREA = CmaArea(
    name="reserved",
    count_pages=64,
    order_per_bit=0,
    used_pages=40,
    max_free_run_pages=20,
    ranges=(CmaRange(0x5BE00, 64, b"\xff\xff\xff\x0f\x00\x00\xff\x0f"),),
    alloc_pages_success=400,
    alloc_pages_fail=60,
    provenance=MappingProxyType({"used_pages": (Source.DEBUGFS_CMA,)}),
)
DARK_AREA = CmaArea("video@60000000", None, None, None, None, ())

SNAPSHOT = Snapshot(
    source="replay:sample",
    kernel="6.12.117",
    boot_id="0f7a3c4e-7f10-4d6a-9a5e-0d6cf0f9d2a1",
    captured_at=1_750_000_000.25,
    page_bytes=4096,
    gaps=(Gap("bufinfo", "EACCES (Permission denied)", "run as root"), Gap(EVIL, "unreadable", "")),
    heaps=(
        Heap("reserved", "reserved", 1, 64 * MIB, "reserved", (251, 1), 0o600),
        Heap("system", "system", 2, 2 * MIB + (512 << 10), None),
    ),
    exporters=(
        ExporterTotal(None, 1, 0, is_heap=False),
        ExporterTotal("drm", 1, 4096, is_heap=False),
        ExporterTotal("reserved", 1, 64 * MIB, is_heap=True),
        ExporterTotal("system", 2, 2 * MIB + (512 << 10), is_heap=True),
    ),
    buffers=(ORPHAN, SHARED, UNNAMED, UNTOLD, FORGED),
    processes=(
        Process(
            CAMERA,
            "cameraserver",
            1047,
            ("/system/bin/cameraserver", "-x"),
            "/camera",
            -800,
            66 * MIB,
            65 * MIB,
            (62, 78),
            (830,),
        ),
        Process(VIEWER, EVIL, None, None, None, None, 2 * MIB + 4096, MIB + 4096, (62, 91)),
    ),
    cma=(AREA, DARK_AREA),
    memory=Memory(total_bytes=8 << 30, available_bytes=4 << 30),
)
EMPTY = Snapshot("kernel", None, None, None, 4096, (), (), (), (), (), ())
