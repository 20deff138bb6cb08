"""What many tests share: the captures of real kernels and their ground truth."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

CAPTURES_DIR = Path(__file__).parent / "captures"
CAPTURES = tuple(sorted(path.name.removesuffix(".tar.gz") for path in CAPTURES_DIR.glob("*.tar.gz")))


@dataclass(frozen=True, slots=True)
class TrueHolder:
    """One row of `truth.json`: who holds which buffer, and how.

    `name` is None where never set, `fd` where there is none.
    """

    pid: int
    tid: int
    comm: bytes
    how: str
    exporter: str
    name: bytes | None
    fd: int | None
    size_bytes: int
    inode: int


def archive(name: str) -> Path:
    """The recording of one kernel."""
    return CAPTURES_DIR / f"{name}.tar.gz"


def truth(name: str) -> tuple[TrueHolder, ...]:
    """What the workload itself held while that recording was made."""
    with tarfile.open(archive(name)) as tar:
        member = tar.extractfile("./truth.json")
        assert member is not None
        rows = json.load(member)["holders"]
    return tuple(
        TrueHolder(
            pid=row["pid"],
            tid=row["tid"],
            comm=row["comm"].encode("latin-1"),
            how=row["how"],
            exporter=row["exporter"],
            name=None if row["name"] is None else row["name"].encode("latin-1"),
            fd=None if row["fd"] < 0 else row["fd"],
            size_bytes=row["size"],
            inode=row["ino"],
        )
        for row in rows
    )
