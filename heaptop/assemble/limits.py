"""What heaptop did not look at, could not see from where it runs, or looked at earlier: each a gap."""

import re
from typing import Final

from heaptop.assemble.gaps import Gaps, is_denied
from heaptop.capture import Capture
from heaptop.errors import ParseError
from heaptop.parse import status
from heaptop.pattern import pattern
from heaptop.sources import OPTION, SOURCES
from heaptop.units import format_age

NODES: Final = "dev/dma_heap/"
REMOTE: Final = ("adb", "ssh:")
"""How the names of devices begin."""
UDEV_RULE: Final = 'SUBSYSTEM=="dma_heap", GROUP="video", MODE="0660"'
"""That opens the heaps to a group (Raspberry Pi OS has it)."""
_PROC: Final = pattern(rb"^\S+ /proc proc (\S*)", re.MULTILINE)
_CAPABILITIES: Final = pattern(rb"^CapEff:\t([0-9a-f]{1,16})$", re.MULTILINE)
_GROUPS: Final = pattern(rb"^(?:Gid|Groups):\t([\d\t ]*)$", re.MULTILINE)
_SYS_PTRACE: Final = 19
_COUNTED: Final = frozenset({"hidepid=1", "hidepid=noaccess"})
"""Other users' processes are listed all the same, and counted as denied."""
INITIAL_PIDS: Final = b"pid:[4026531836]"
"""/proc/self/ns/pid in the first pid namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h)."""


def note(capture: Capture, gaps: Gaps) -> None:
    """All of them."""
    if capture.off:
        gaps.add(", ".join(name for name in SOURCES if name in capture.off), f"switched off by {OPTION}")
    for path, reading in capture.older.items():
        why = f"read {format_age(reading.age_s)} ago, as one reading takes {reading.cost_s * 1000:.0f} ms"
        gaps.add(f"what has changed since in /{path}", why, f"{OPTION} switches it off")
    if is_in_a_pid_namespace(capture):
        why = "heaptop sees only the pid namespace that it runs in"
        gaps.add("processes outside this container", why, "run heaptop outside, or share the host's pids")
    if (hiding := hidden_by(capture)) is not None and hiding not in _COUNTED:
        why = f"/proc is mounted with {hiding}"
        gaps.add("processes of other users, and what they hold", why, "run as root or with CAP_SYS_PTRACE")
    if capture.source.startswith(REMOTE):
        why = "the device's shell does not look into every thread's table, and cannot ask BPF"
        gaps.add("descriptors that a thread has for itself", why, "run heaptop on the device")
    locked = locked_heaps(capture)
    if locked:
        gaps.add(f"allocating from {', '.join(locked)}", "permission denied", f"add a udev rule: {UDEV_RULE}")


def hidden_by(capture: Capture) -> str | None:
    """The mount option that keeps /proc from showing all processes to who looked; None where it shows them.

    It does not bind who may trace every process, or belongs to the group of the mount's gid= (fs/proc/base.c,
    has_pid_permissions, 3.3 on).
    """
    mounts, own = capture.files.get("proc/mounts"), capture.files.get("proc/self/status")
    proc = _PROC.search(mounts) if isinstance(mounts, bytes) else None
    options = dict(option.partition(b"=")[::2] for option in proc[1].split(b",")) if proc else {}
    hiding = options.get(b"hidepid", b"off")
    if hiding in {b"0", b"off"}:
        return None
    if isinstance(own, bytes):
        capabilities = _CAPABILITIES.search(own)
        groups = b" ".join(_GROUPS.findall(own)).split()
        if (capabilities and int(capabilities[1], 16) >> _SYS_PTRACE & 1) or options.get(b"gid", b"") in groups:
            return None
    return f"hidepid={hiding.decode('latin-1')}"


def locked_heaps(capture: Capture) -> tuple[str, ...]:
    """Names of the heaps whose nodes this user may not open."""
    denied = (path for path, raw in capture.files.items() if path.startswith(NODES) and is_denied(raw))
    return tuple(sorted(path.removeprefix(NODES) for path in denied))


def is_in_a_pid_namespace(capture: Capture) -> bool:
    """Whether /proc shows a namespace below the first. One that shows an outer one has a pid for each in NSpid."""
    own = capture.links.get("proc/self/ns/pid", INITIAL_PIDS)
    if own == INITIAL_PIDS or not re.fullmatch(rb"pid:\[\d+\]", own):
        return False
    try:
        text = capture.files.get("proc/self/status")
        return not isinstance(text, bytes) or len(status.parse(text).nspid) <= 1
    except ParseError:
        return True
