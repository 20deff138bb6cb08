r"""ION's debugfs: `ion/heaps/NAME` (drivers/staging/android/ion/ion.c up to 4.14, and vendors' trees).

          client              pid             size
----------------------------------------------------
     adsprpc-smd                1             4096
----------------------------------------------------
orphaned allocations (info is from last known client):
      Homescreen            24100           294912 0 1
----------------------------------------------------
  total orphaned           294912
          total            299008
   deferred free                0
----------------------------------------------------
4 order 8 highmem pages in uncached pool = 4194304 total

Some vendors add a column for the user and a row of titles below "orphaned"; MediaTek a debug name in brackets and an
address. Buffers have no identity here. An orphaned one is a buffer without a client's handle left: shared, as a rule.
"""

from typing import Final

from heaptop.parse.dump import Dumped, DumpedUse
from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_TITLES: Final = pattern(rb" *client(?:\( *dbg_name\))? +pid +size(?: .*)?")
_ORPHANS: Final = pattern(rb"orphaned allocations .*")
_ORPHAN_TITLES: Final = pattern(rb" *client +pid +user .*size.*")
_CLIENT: Final = pattern(rb" *(.{1,64}?)(?:\(.*\))? +([0-9]{1,10}) +([0-9]{1,20})(?: +0x[0-9a-fA-Fp]+)?(?: +\S+)*")
_ORPHAN: Final = pattern(rb" *(.{1,64}?) +([0-9]{1,10})(?: +\S.*? +[0-9]{1,10})? +([0-9]{1,20}) +-?[0-9]+ +-?[0-9]+.*")
_TOTAL: Final = pattern(rb" *total +([0-9]{1,20}) *")
_SUM: Final = pattern(rb" *(?:total orphaned|deferred free|total [a-z ]+) +[0-9]+ *")
_POOL: Final = pattern(rb" *[0-9]+ order [0-9]+ .*pool.* = ([0-9]{1,20}) total *.*")
_RULE: Final = pattern(rb"-{8,}|\s*")


def is_dump(data: bytes) -> bool:
    """Whether the row of titles is among the first lines."""
    return any(_TITLES.fullmatch(line) for line in data[:4096].splitlines()[:5])


def parse(data: bytes, heap: bytes) -> Dumped:
    """One heap: bytes by client, buffers without identity as far as each is told, and pools.

    Raises:
        ParseError: there is no row of titles.
    """
    lines = data.splitlines()
    start = next((index for index, line in enumerate(lines) if _TITLES.fullmatch(line)), None)
    if start is None:
        raise error_at("ion heap", "no row of titles", data)
    comms: dict[int, bytes] = {}
    uses: dict[int, int] = {}
    orphans: list[tuple[bytes, int]] = []
    total = None
    pools = unread = 0
    in_orphans = False
    for line in lines[start + 1 :]:
        if _ORPHANS.fullmatch(line):
            in_orphans = True
        elif found := _TOTAL.fullmatch(line):
            total = int(found[1])
        elif found := _POOL.fullmatch(line):
            pools += int(found[1])
        elif in_orphans and (found := _ORPHAN.fullmatch(line)):
            orphans.append((heap, int(found[3])))
        elif not in_orphans and (found := _CLIENT.fullmatch(line)):
            pid = int(found[2])
            comms[pid] = found[1].strip()
            uses[pid] = uses.get(pid, 0) + int(found[3])
        else:
            unread += not (_RULE.fullmatch(line) or _SUM.fullmatch(line) or _ORPHAN_TITLES.fullmatch(line))
    return Dumped(
        comms=comms,
        uses={pid: DumpedUse(size) for pid, size in uses.items()},
        heaps={} if total is None else {heap: total},
        nameless=tuple(orphans),
        pools=pools or None,
        unread=unread,
    )
