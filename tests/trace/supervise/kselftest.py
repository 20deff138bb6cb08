"""The kernel's own test of dma-heaps, from Debian's package of its source: kept in the cache, never here."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "linux-source-6.12"
_FILES: Final = (
    "tools/testing/selftests/dmabuf-heaps/dmabuf-heap.c",
    "tools/testing/selftests/kselftest.h",
    "include/uapi/drm/drm.h",
    "include/uapi/drm/drm_mode.h",
)
_UNPACK: Final = """
set -o pipefail
dpkg-deb --fsys-tarfile {package}*.deb | tar -xO ./usr/src/{package}.tar.xz | tar -xJ --occurrence=1 {files}
"""


class MissingError(Exception):
    """It is not to be had here, and why."""


def source() -> Path:
    """The folder with the files at their paths in the kernel's tree.

    Raises:
        MissingError: no apt, no network, or no such package.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heaptop" / "kselftest"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = cache / PACKAGE
        if not all((tree / name).exists() for name in _FILES):
            _fetch(cache)
        return tree


def _fetch(cache: Path) -> None:
    if shutil.which("apt-get") is None:
        raise MissingError(f"needs Debian's package {PACKAGE}: no apt-get here")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        if not _ran(folder, "apt-get", "download", PACKAGE):
            _ran(folder, "apt-get", "update")
            if not _ran(folder, "apt-get", "download", PACKAGE):
                raise MissingError(f"needs Debian's package {PACKAGE}: apt-get download {PACKAGE} fails")
        # tar ends as soon as it has all, so those before it end by SIGPIPE.
        _ran(
            folder,
            "bash",
            "-c",
            _UNPACK.format(package=PACKAGE, files=" ".join(f"{PACKAGE}/{name}" for name in _FILES)),
        )
        unpacked = Path(folder) / PACKAGE
        if not all((unpacked / name).exists() for name in _FILES):
            raise MissingError(f"{PACKAGE} does not have its files where they were")
        shutil.rmtree(cache / PACKAGE, ignore_errors=True)
        unpacked.rename(cache / PACKAGE)


def _ran(folder: str, *command: str) -> bool:
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300).returncode == 0
