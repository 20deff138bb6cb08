"""Which files have the names of a program or library: itself, and those that its debug information was put in."""

import contextlib
import lzma
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final, NamedTuple

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection
from elftools.elf.segments import NoteSegment

DEBUG_FOLDERS: Final = ("/usr/lib/debug",)
MINI_BYTES_MAX: Final = 64 << 20
_LINK_BYTES_MAX: Final = 4096
_CHUNK_BYTES: Final = 1 << 20


class NotUsableError(Exception):
    """A file is no ELF file that can be read, or not the one that was asked for."""


class Places(NamedTuple):
    """Where to look. `folders` are the user's own: trees that mirror the paths of the device, with all names in them
    (Android's `symbols`), or files side by side. `debug` are those that distributions put debug files in. `root` is
    where the paths of frames begin.
    """

    folders: Sequence[str] = ()
    debug: Sequence[str] = DEBUG_FOLDERS
    root: str = "/"


@dataclass(slots=True)
class Files:
    """The files of one module, best first: those with DWARF, then those that have only symbols.

    `notes` say why what one would expect is not among them.
    """

    elves: list[ELFFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(build_id: str, path: str, places: Places) -> Files:
    """All files there are for a module. A file whose build id is another one is another build, and of no use."""
    found = Files()
    main = None
    for candidate in _candidates(path, places):
        opened = _usable(candidate, build_id, found.notes)
        if opened is not None:
            found.elves.append(opened)
            main = main or (candidate, opened)
    by_id = _by_build_id(build_id, places)
    linked = _linked(*main, places, found.notes) if main is not None else ()
    for candidate in (*by_id, *linked):
        opened = _usable(candidate, build_id, found.notes)
        if opened is not None:
            found.elves.append(opened)
            break
    if main is not None:
        mini = _mini(main[1], found.notes)
        if mini is not None:
            found.elves.append(mini)
    found.elves.sort(key=lambda elf: not elf.has_dwarf_info(strict=True))
    return found


def _candidates(path: str, places: Places) -> Iterator[str]:
    for folder in places.folders:
        yield os.path.join(folder, path.lstrip("/"))
        yield os.path.join(folder, os.path.basename(path))
    yield os.path.join(places.root, path.removesuffix(" (deleted)").lstrip("/"))


def _by_build_id(build_id: str, places: Places) -> tuple[str, ...]:
    if len(build_id) < 4:
        return ()
    name = f".build-id/{build_id[:2]}/{build_id[2:]}.debug"
    return tuple(os.path.join(folder, name) for folder in (*places.folders, *places.debug))


def build_id_of(elf: ELFFile) -> str:
    """In hexadecimal; empty where it has none. Debug files have it in a section; what has no sections, in a segment."""
    parts = (*elf.iter_sections("SHT_NOTE"), *elf.iter_segments("PT_NOTE"))
    notes = (note for part in parts if isinstance(part, NoteSection | NoteSegment) for note in part.iter_notes())
    wanted = (note["n_desc"] for note in notes if note["n_type"] == "NT_GNU_BUILD_ID" and note["n_name"] == "GNU")
    return str(next(wanted, ""))


def _usable(path: str, build_id: str, notes: list[str]) -> ELFFile | None:
    """The file where it can be read and is the right one. It stays open as long as the result lives."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if not isinstance(error, FileNotFoundError):
            notes.append(f"{path}: {error}")
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    file = open(fd, "rb")  # noqa: SIM115  (its reader keeps it)
    try:
        elf = ELFFile(file)
        found = build_id_of(elf)
    except Exception as error:  # noqa: BLE001  (what pyelftools raises for a damaged file is of any type)
        file.close()
        notes.append(f"{path}: damaged, or no ELF file ({type(error).__name__})")
        return None
    if found != build_id and (build_id or found):
        file.close()
        notes.append(f"{path}: another build than what ran")
        return None
    return elf


def _linked(path: str, elf: ELFFile, places: Places, notes: list[str]) -> tuple[str, ...]:
    """Where the file that .gnu_debuglink names may be (gdb, Separate Debug Files), where its checksum is right."""
    with contextlib.suppress(Exception):
        section = elf.get_section_by_name(".gnu_debuglink")
        if section is None or section["sh_size"] > _LINK_BYTES_MAX:
            return ()
        data = section.data()
        name = os.fsdecode(data.partition(b"\0")[0])
        checksum = int.from_bytes(data[-4:], "little")
        if not name or "/" in name:
            return ()
        folder = os.path.dirname(os.path.realpath(path))
        paths = [os.path.join(folder, name), os.path.join(folder, ".debug", name)]
        paths += [os.path.join(debug, folder.lstrip("/"), name) for debug in (*places.folders, *places.debug)]
        for candidate in paths:
            found = _checksum(candidate)
            if found == checksum and not os.path.samefile(candidate, path):
                return (candidate,)
            if found is not None and found != checksum:
                notes.append(f"{candidate}: its checksum is another than {os.path.basename(path)} says")
    return ()


def _checksum(path: str) -> int | None:
    """CRC-32 of a file; None where it cannot be read."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            value = 0
            while chunk := file.read(_CHUNK_BYTES):
                value = zlib.crc32(chunk, value)
            return value
    except OSError:
        return None


def _mini(elf: ELFFile, notes: list[str]) -> ELFFile | None:
    """The symbols that Android and Fedora leave in a stripped file: an ELF file in .gnu_debugdata, compressed by xz."""
    try:
        section = elf.get_section_by_name(".gnu_debugdata")
        if section is None:
            return None
        decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MINI_BYTES_MAX * 4)
        data = decompressor.decompress(section.data(), MINI_BYTES_MAX)
        return ELFFile(BytesIO(data))
    except Exception as error:  # noqa: BLE001  (see above)
        notes.append(f".gnu_debugdata: damaged ({type(error).__name__})")
        return None
