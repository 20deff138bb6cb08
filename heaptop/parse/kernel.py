"""The kernel's release (`/proc/sys/kernel/osrelease`, `/proc/version`) and the boot's id."""

from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_RELEASE = pattern(rb"([0-9]{1,6})\.([0-9]{1,6})[\x21-\x7e]{0,120}")
_VERSION = pattern(rb"Linux version (" + _RELEASE.pattern + rb") [^\n]*\n?")
_BOOT_ID = pattern(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def osrelease(data: bytes) -> bytes:
    """`6.12.117-x` of `/proc/sys/kernel/osrelease`.

    Raises:
        ParseError: not a kernel's release.
    """
    release = data.removesuffix(b"\n")
    if _RELEASE.fullmatch(release) is None:
        raise error_at("osrelease", "not a kernel release", data)
    return release


def version(data: bytes) -> bytes:
    """The release out of `/proc/version`.

    Raises:
        ParseError: not `Linux version RELEASE ...`.
    """
    match = _VERSION.fullmatch(data)
    if match is None:
        raise error_at("version", "not Linux version and a release", data)
    return match[1]


def numbers(release: bytes) -> tuple[int, int]:
    """Version and patch level, to compare: `(6, 12)` of `6.12.117-x`.

    Raises:
        ParseError: not a kernel's release.
    """
    match = _RELEASE.fullmatch(release)
    if match is None:
        raise error_at("osrelease", "not a kernel release", release)
    return int(match[1]), int(match[2])


def boot_id(data: bytes) -> bytes:
    """`/proc/sys/kernel/random/boot_id`: a UUID, new with each boot.

    Raises:
        ParseError: not a UUID.
    """
    uuid = data.removesuffix(b"\n")
    if _BOOT_ID.fullmatch(uuid) is None:
        raise error_at("boot_id", "not a UUID", data)
    return uuid
