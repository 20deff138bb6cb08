"""`/proc/P/cgroup` (kernel/cgroup/cgroup.c proc_cgroup_show): `ID:CONTROLLER,...:PATH` per hierarchy; `0::PATH` is v2.

A path can hold colons but no newline: cgroup_mkdir refuses it for the sake of this very file.
"""

from typing import NamedTuple

from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_LINE = pattern(rb"(\d{1,10}):([^:\n]*):([^\n]*)\n")


class Cgroup(NamedTuple):
    """Membership in one hierarchy. v2 is `hierarchy_id` 0 without `controllers`; v1 may have `name=systemd` there."""

    hierarchy_id: int
    controllers: tuple[bytes, ...]
    path: bytes


def parse(data: bytes) -> tuple[Cgroup, ...]:
    """All hierarchies in the kernel's order.

    Raises:
        ParseError: a line is not of that shape, or is cut.
    """
    groups = []
    offset = 0
    while offset < len(data):
        match = _LINE.match(data, offset)
        if match is None:
            raise error_at("cgroup", "not ID:CONTROLLERS:PATH, or cut", data, offset)
        groups.append(Cgroup(int(match[1]), tuple(match[2].split(b",")) if match[2] else (), match[3]))
        offset = match.end()
    return tuple(groups)


def path(groups: tuple[Cgroup, ...]) -> bytes | None:
    """The one path to show: that of v2, else that of `name=systemd`, else the first. Total."""
    ranked = sorted(groups, key=lambda group: (group.hierarchy_id != 0, b"name=systemd" not in group.controllers))
    return ranked[0].path if ranked else None
