"""The fdinfos of a capture that are apart from its processes: the newest of each buffer."""

from collections.abc import Mapping

from heaptop.assemble.gaps import Gaps, is_gone, reason, remedy
from heaptop.capture import BufferInfo
from heaptop.errors import ParseError
from heaptop.parse import fdinfo
from heaptop.parse.fdinfo import DmabufFdinfo

_WHAT = "fdinfo of {}"


class InfoReader:
    """Reads them. A text that was there before is not read again; while all are the very same, so is the result."""

    def __init__(self) -> None:
        self._texts: Mapping[int, BufferInfo] = {}
        self._parsed: dict[int, DmabufFdinfo | None] = {}
        self._result: Mapping[int, DmabufFdinfo] = {}
        self._troubles: dict[int, tuple[str, str]] = {}

    def read(self, texts: Mapping[int, BufferInfo], gaps: Gaps) -> Mapping[int, DmabufFdinfo]:
        """By inode. One that cannot be read is a gap."""
        if texts is not self._texts:
            before, self._texts = self._texts, texts
            known, self._parsed = self._parsed, {}
            for inode, info in texts.items():
                if before.get(inode) is info:
                    self._parsed[inode] = known[inode]
                else:
                    self._troubles.pop(inode, None)
                    self._parsed[inode] = self._parse(inode, info)
            self._result = {inode: info for inode, info in self._parsed.items() if info is not None}
        for inode, (why, advice) in self._troubles.items():
            if inode in texts:
                gaps.tally(_WHAT, "buffer", why, advice)
        return self._result

    def _parse(self, inode: int, info: BufferInfo) -> DmabufFdinfo | None:
        if isinstance(info.raw, bytes):
            try:
                return fdinfo.parse(info.raw)
            except ParseError as error:
                self._troubles[inode] = str(error), ""
        elif not is_gone(info.raw):
            self._troubles[inode] = reason(info.raw), remedy(info.raw)
        return None
