"""The kernel's initramfs format: cpio "newc", as Documentation/driver-api/early-userspace/buffer-format.rst has it."""

import os
from collections.abc import Mapping


def archive(files: Mapping[str, bytes]) -> bytes:
    """An archive of executable files by path, and of the folders they are in."""
    folders = {parent for path in files for parent in _parents(path)}
    parts = [_entry(folder, 0o040755, b"") for folder in sorted(folders)]
    parts += [_entry(path, 0o100755, content) for path, content in files.items()]
    parts.append(_entry("TRAILER!!!", 0, b""))
    return _padded(b"".join(parts), 512)


def _parents(path: str) -> list[str]:
    parent = os.path.dirname(path)
    return [*_parents(parent), parent] if parent else []


def _entry(path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    inode = uid = gid = mtime = major = minor = device_major = device_minor = check = 0
    numbers = (
        inode,
        mode,
        uid,
        gid,
        1,
        mtime,
        len(content),
        major,
        minor,
        device_major,
        device_minor,
        len(name),
        check,
    )
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    return _padded(header + name, 4) + _padded(content, 4)


def _padded(data: bytes, to: int) -> bytes:
    return data + bytes(-len(data) % to)
