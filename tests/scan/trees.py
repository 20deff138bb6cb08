"""Folders that stand for /proc."""

from pathlib import Path


def fake_process(root: Path, pid: int, links: dict[str, str]) -> Path:
    """A process: `links` are the targets of its descriptors. Only an io_uring has a buffer, by its fdinfo."""
    folder = root / str(pid)
    for name in ("fd", "fdinfo"):
        (folder / name).mkdir(parents=True)
    for name in ("comm", "maps", "stat"):
        (folder / name).write_text(f"{name}\n")
    for fd, target in links.items():
        (folder / "fd" / fd).symlink_to(target)
        (folder / "fdinfo" / fd).write_text("UserFiles:\t1\n    0: dmabuf\n" if "io_uring" in target else "pos:\t0\n")
    return folder
