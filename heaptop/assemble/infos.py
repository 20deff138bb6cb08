"""The fdinfos of a capture that are apart from its processes: the newest of each buffer."""

from collections.abc import Iterable, Mapping

from heaptop.assemble.gaps import Gaps, is_gone, reason, remedy
from heaptop.capture import BufferInfo
from heaptop.changes import changed_keys
from heaptop.errors import ParseError
from heaptop.parse import fdinfo
from heaptop.parse.fdinfo import DmabufFdinfo

_WHAT = "fdinfo of {}"


class InfoReader:
    """Reads them. A text that was there before is not read again; while all are the very same, so is the result."""

    def __init__(self) -> None:
        self._texts: Mapping[int, BufferInfo] = {}
        self._parsed: Mapping[int, DmabufFdinfo] = {}
        self._troubles: dict[int, tuple[str, str]] = {}

    def read(self, texts: Mapping[int, BufferInfo], gaps: Gaps) -> Mapping[int, DmabufFdinfo]:
        """By inode. One that cannot be read is a gap."""
        changed = changed_keys(self._texts, texts)
        if changed:
            self._texts = texts
            self._parsed = self._with(changed)
        for inode in sorted(self._troubles):
            gaps.tally(_WHAT, "buffer", *self._troubles[inode])
        return self._parsed

    def _with(self, changed: Iterable[int]) -> Mapping[int, DmabufFdinfo]:
        parsed = dict(self._parsed)
        for inode in changed:
            self._troubles.pop(inode, None)
            text = self._texts.get(inode)
            info = None if text is None else self._parse(inode, text)
            if info is not None:
                parsed[inode] = info
            else:
                parsed.pop(inode, None)
        return parsed

    def _parse(self, inode: int, info: BufferInfo) -> DmabufFdinfo | None:
        if isinstance(info.raw, bytes):
            try:
                return fdinfo.parse(info.raw)
            except ParseError as error:
                self._troubles[inode] = str(error), ""
        elif not is_gone(info.raw):
            self._troubles[inode] = reason(info.raw), remedy(info.raw)
        return None
