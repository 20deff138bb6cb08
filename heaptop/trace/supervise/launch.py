"""The command's process, from the fork until exec: a /dev of its own with the heaps' nodes, and the filter."""

import contextlib
import json
import os
import signal
import socket
import stat
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, NoReturn, TypeVar

from heaptop.trace.supervise import seccomp
from heaptop.trace.supervise.libc import LIBC, Machine, checked

MESSAGE_BYTES_MAX: Final = 1 << 16
PRIVATE_DEV: Final = "a /dev of its own"
"""The step that fails where nobody may mount."""
DEV_LABEL: Final = "heaptop-dev"
"""What /proc/self/mountinfo shows as the source of such a /dev."""
_LABELLED: Final = b" - tmpfs " + DEV_LABEL.encode() + b" "
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_NOSUID, _MS_BIND, _MS_REC, _MS_SLAVE = 2, 4096, 16384, 1 << 19
_PR_SET_NO_NEW_PRIVS: Final = 38
_NODE_MODE: Final = 0o666
_NULL_DEVICE: Final = (1, 3)
_RESTORED: Final = (signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored by Python for itself."""
_Result = TypeVar("_Result")


class Plan(NamedTuple):
    """What to run and how. `heaps` are the names of the nodes to show; None: the kernel's own are there.

    `signals` are those that the caller had blocked.
    """

    command: tuple[str, ...]
    machine: Machine
    stopped: seccomp.Stopped
    heaps: tuple[str, ...] | None
    signals: frozenset[int] = frozenset()


class StageError(Exception):
    """A step failed that the command cannot do without."""

    def __init__(self, stage: str, error: OSError) -> None:
        super().__init__(stage, error)
        self.stage = stage
        self.error = error


def become(plan: Plan, supervisor: socket.socket) -> NoReturn:
    """Make this fork the command. What happens is told to the supervisor; after exec it sees the socket close.

    The first message has the listener's fd and the identity of each heap's node. The command begins when the
    supervisor answers.
    """
    status = 127
    try:
        heaps = plan.heaps
        nodes = {} if heaps is None else _stage(PRIVATE_DEV, lambda: private_dev(heaps))
        listener = _stage("the filter", lambda: _install(plan))
        hello = {"nodes": nodes}
        socket.send_fds(supervisor, [json.dumps(hello).encode()], [listener])
        os.close(listener)
        if supervisor.recv(1):
            execute(plan.command, plan.signals)
    except StageError as failed:
        _tell(supervisor, {"failed": failed.stage, "errno": failed.error.errno, "call": failed.error.filename})
    except FileNotFoundError as error:
        _tell(supervisor, {"exec": error.errno})
    except OSError as error:
        status = 126
        _tell(supervisor, {"exec": error.errno})
    finally:
        os._exit(status)


def _stage(name: str, act: Callable[[], _Result]) -> _Result:
    try:
        return act()
    except OSError as error:
        raise StageError(name, error) from error


def _tell(supervisor: socket.socket, message: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        supervisor.send(json.dumps(message).encode())


def is_supervised() -> bool:
    """Whether this process is in a /dev that such a launch has made."""
    with open("/proc/self/mountinfo", "rb") as file:
        return any(_LABELLED in line for line in file)


def execute(command: Sequence[str], blocked: frozenset[int]) -> NoReturn:
    """Become a program, as if nothing of Python had been before; `blocked` are the signals it is to start with.

    Raises:
        OSError: it cannot be run.
    """
    for number in _RESTORED:
        signal.signal(number, signal.SIG_DFL)
    for handled in signal.valid_signals():
        if callable(signal.getsignal(handled)):
            signal.signal(handled, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    os.execvpe(command[0], tuple(command), _environment())


def _environment() -> dict[bytes, bytes]:
    """As this program was given it: Python may have changed LC_CTYPE for itself."""
    with open("/proc/self/environ", "rb") as file:
        pairs = (line.partition(b"=") for line in file.read().split(b"\0") if line)
        return {name: value for name, _, value in pairs if name} or os.environb.copy()


def _install(plan: Plan) -> int:
    code = seccomp.program(plan.machine, plan.stopped)
    try:
        return seccomp.install(plan.machine, code)
    except PermissionError:
        # As root set-user-ID programs keep working; a plain user must give that up to be allowed a filter.
        checked(LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        return seccomp.install(plan.machine, code)


def private_dev(heaps: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Enter a mount namespace whose /dev has these heaps; device and inode of each node. The host's stays as it is.

    Raises:
        OSError: neither root nor a user namespace may do it here.
    """
    _enter_namespace()
    _mount(None, "/", None, _MS_REC | _MS_SLAVE)
    mask = os.umask(0)
    try:
        if os.path.isdir("/dev/dma_heap"):
            _mount(DEV_LABEL, "/dev/dma_heap", "tmpfs", _MS_NOSUID, "mode=0755")
        else:
            _rebuild_dev()
            os.mkdir("/dev/dma_heap", 0o755)
        return {heap: _node(f"/dev/dma_heap/{heap}") for heap in heaps}
    finally:
        os.umask(mask)


def _enter_namespace() -> None:
    """A mount namespace; for who may not make one, in a user namespace where the user is who they were."""
    user, group = os.geteuid(), os.getegid()
    try:
        checked(LIBC.unshare(_CLONE_NEWNS), "unshare")
    except PermissionError:
        checked(LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "unshare")
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)


def _rebuild_dev() -> None:
    """A new /dev with everything of the old one, which stays reachable by a descriptor alone."""
    old = os.open("/dev", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _mount(DEV_LABEL, "/dev", "tmpfs", _MS_NOSUID, "mode=0755")
        with os.scandir(old) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # unplugged meanwhile
                    _keep(entry, f"/proc/self/fd/{old}/{entry.name}", f"/dev/{entry.name}")
    finally:
        os.close(old)


def _keep(entry: "os.DirEntry[str]", old: str, new: str) -> None:
    if entry.is_symlink():
        os.symlink(os.readlink(old), new)
        return
    if entry.is_dir(follow_symlinks=False):
        os.mkdir(new, 0o755)
    else:
        os.close(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    _mount(old, new, None, _MS_BIND | _MS_REC)


def _node(path: str) -> tuple[int, int]:
    """A character device as root, so that programs see one; in a user namespace a file has to do."""
    try:
        os.mknod(path, stat.S_IFCHR | _NODE_MODE, os.makedev(*_NULL_DEVICE))
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, _NODE_MODE))
    node = os.stat(path)
    return node.st_dev, node.st_ino


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    source_, kind_, data_ = (None if text is None else os.fsencode(text) for text in (source, kind, data))
    checked(LIBC.mount(source_, os.fsencode(target), kind_, flags, data_), f"mount {target}")
