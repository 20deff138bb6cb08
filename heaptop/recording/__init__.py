"""Recordings: captures as plain files at their real paths, in a folder or a tar.

`docs/recording.md` is the format. A recording comes from anywhere: it is never extracted, nothing outside it is
followed, and every size is bounded. What is damaged is left out and said so; the rest is read.
"""

from heaptop.capture import Capture
from heaptop.errors import RecordingError
from heaptop.recording.atomic import publish
from heaptop.recording.layout import DAMAGE, capture_of
from heaptop.recording.members import members_of
from heaptop.recording.series import Series, is_segment, series_of_folder, series_of_segment, series_of_tar
from heaptop.recording.source import load, only

__all__ = ["read", "read_all", "write"]


def read(path: str) -> Capture:
    """The capture that a folder or tar (plain, gzip, xz, bzip2) holds, the last one of many; its source is
    `replay:PATH`.

    A recording that is cut or too large gives what could be read, and `files["recording"]` is a `ReadError`.

    Raises:
        RecordingError: there is no recording at `path`, or nothing of it can be read.
    """
    found = read_all(path)
    return found if isinstance(found, Capture) else found.capture(len(found.moments) - 1)


def read_all(path: str) -> Capture | Series:
    """The capture, or the series of them, that is at `path`.

    Raises:
        RecordingError: as `read`.
    """
    series = series_of_folder(path)
    if series is not None:
        return series
    loaded = load(path)
    if is_segment(loaded):
        return series_of_segment(path, loaded)
    if not loaded.tops and (packed := series_of_tar(path)) is not None:
        return packed
    members = only(path, loaded)
    if not any(name.startswith(("proc/", "sys/", "dump/", "dmesg")) for name in members):
        raise RecordingError(
            f"{path} holds no recording",
            "there is neither proc/ nor sys/ in it, nor a dump that is known"
            + (" before it breaks off" if DAMAGE in members else ""),
            "name what `heaptop capture` or `record` made, a bug report, or the output of dmabuf_dump",
        )
    return capture_of(members, f"replay:{path}")


def write(capture: Capture, path: str) -> None:
    """Write a capture to a new folder, or to a tar where `path` ends in .tar, .tar.gz, .tgz or .tar.xz.

    It appears at `path` whole or not at all, readable by its owner only: it names processes and buffers.

    Raises:
        RecordingError: `path` exists or cannot be written, or the capture has a path that no file can have.
    """
    publish(members_of(capture), path, mtime=capture.captured_at or 0.0)
