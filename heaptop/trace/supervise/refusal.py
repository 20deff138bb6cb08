"""Why a command cannot be run under supervision, in a user's words."""

import errno
from typing import Final

from heaptop.errors import HeaptopError, SourceError, errno_text
from heaptop.units import printable

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126

_REMEDIES: Final = {
    ("a /dev of its own", errno.EPERM): "run as root, or allow user namespaces: "
    "sysctl kernel.unprivileged_userns_clone=1, and on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0",
    ("a /dev of its own", errno.ENOSPC): "allow user namespaces: sysctl user.max_user_namespaces=10000",
    ("a /dev of its own", errno.EINVAL): "this kernel has no user namespaces (CONFIG_USER_NS): run as root",
    ("the filter", errno.EBUSY): "another program listens to this one's calls already (a container, a sandbox, another "
    "heaptop run): start heaptop outside of it",
    ("the filter", errno.EINVAL): "this kernel has no seccomp listeners (5.0 on, CONFIG_SECCOMP_FILTER)",
    ("the filter", errno.ENOSYS): "seccomp is not allowed here: start heaptop outside of this container",
    ("the filter", errno.EPERM): "seccomp is not allowed here: start heaptop outside of this container",
}


class CommandError(HeaptopError):
    """The command itself cannot be run. It ends as a shell and env(1) do: 127 not found, 126 not executable."""

    def __init__(self, command: str, number: int) -> None:
        super().__init__(f"cannot run {printable(command)}", errno_text(number))
        self.exit_code = NOT_FOUND if number == errno.ENOENT else NOT_EXECUTABLE


def refused(stage: str, number: int, call: str | None) -> SourceError:
    """What it means that a step before the command failed."""
    why = f"{stage}: {errno_text(number)}" + (f" from {printable(call)}" if call else "")
    return SourceError("the command cannot be supervised here", why, remedy(stage, number))


def remedy(stage: str, number: int) -> str:
    """What can be done about it."""
    same = {errno.EACCES: errno.EPERM, errno.EUSERS: errno.ENOSPC}
    return _REMEDIES.get((stage, same.get(number, number)), "see heaptop run --help")
