"""Programs that know nothing of heaptop, and `heaptop run` to run them, as root and as a plain user."""

import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from heaptop_emulator import shared

PROGRAMS = Path(__file__).parent / "programs"
TIMEOUT_S = 60
UID = 54321
Build = Callable[..., str]
AS_USER = """
uid=$1; shift
umask 022
while [ "$1" != -- ]; do
    mkdir -p "/tmp/heaptop-seen.$$" && mount --bind "$2" "/tmp/heaptop-seen.$$"
    mount -t tmpfs -o mode=755 heaptop-seen "$1"
    mkdir -p "$2" && mount --move "/tmp/heaptop-seen.$$" "$2"
    rmdir "/tmp/heaptop-seen.$$"
    shift 2
done
shift
exec setpriv --reuid="$uid" --regid="$uid" --clear-groups -- "$@"
"""
"""Become that user, who sees the folders named by pairs (a closed folder, and what in it) though others may not."""


@dataclass(frozen=True)
class Runner:
    """Runs `heaptop run` as a user, with a shared emulator of its own in `folder`."""

    uid: int | None
    folder: Path

    def arguments(self, *words: str) -> dict[str, Any]:
        """As subprocess takes them."""
        return self.python("-m", "heaptop", "run", *words)

    def python(self, *words: str) -> dict[str, Any]:
        """This interpreter, as the user."""
        before = () if self.uid is None else ("unshare", "--mount", "sh", "-c", AS_USER, "sh", str(self.uid), *hidden())
        env = {**os.environ, "XDG_RUNTIME_DIR": str(self.folder), "HOME": str(self.folder)}
        if self.uid is not None:  # who may not write where coverage gathers, and would say so on stderr
            env = {name: value for name, value in env.items() if not name.startswith("COV")}
        return {"args": [*before, sys.executable, *words], "env": env, "text": True}

    def run(self, *words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        """To its end."""
        return subprocess.run(
            **self.arguments(*words), input=given, capture_output=True, check=False, timeout=TIMEOUT_S
        )

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """With pipes."""
        pipe = subprocess.PIPE
        return subprocess.Popen(**self.arguments(*words), stdin=pipe, stdout=pipe, stderr=pipe)

    @property
    def emulator(self) -> str:
        """The runtime folder of its emulator."""
        return str(self.folder / "heaptop")


@pytest.fixture(scope="session", params=["root", "user"])
def any_runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """Of each kind."""
    is_root = os.geteuid() == 0
    if request.param == "root" and not is_root:
        pytest.skip("needs root")
    uid = UID if is_root and request.param == "user" else None
    yield from _runner(uid)


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    """As who runs the tests."""
    yield from _runner(None)


def hidden() -> tuple[str, ...]:
    """What this interpreter needs but others may not see, for AS_USER."""
    needed = {os.path.realpath(folder) for folder in (sys.base_prefix, sys.prefix, Path(__file__).parents[3])}
    pairs = {
        str(parent): folder for folder in needed for parent in Path(folder).parents if not parent.stat().st_mode & 1
    }
    return (*(word for pair in sorted(pairs.items()) for word in pair), "--")


def _runner(uid: int | None) -> Iterator[Runner]:
    folder = Path(tempfile.mkdtemp(prefix="heaptop-run-"))
    try:
        if uid is not None:
            os.chown(folder, uid, uid)
        made = Runner(uid, folder)
        if uid is not None:
            probe = "import ctypes, heaptop_emulator._buddy; raise SystemExit(ctypes.CDLL(None).unshare(0x10000000))"
            seen = subprocess.run(**made.python("-c", probe), capture_output=True, check=False)
            if seen.returncode != 0:
                pytest.skip(f"uid {uid} cannot read this checkout, or user namespaces are not allowed: {seen.stderr}")
        yield made
        if uid is None:
            shared.stop(made.emulator)
        else:
            stop = "from heaptop_emulator import shared; shared.stop()"
            subprocess.run(**made.python("-c", stop), check=True)
        wait_for_all(folder)
    finally:
        shutil.rmtree(folder)


def wait_for_all(folder: Path) -> None:
    """Until nobody is left of those who were started to use this runtime folder: the last of them tidy it up."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"XDG_RUNTIME_DIR={folder}\0".encode() in (process / "environ").read_bytes():
                pidfd = os.pidfd_open(int(process.name))
                ended, _, _ = select.select([pidfd], [], [], TIMEOUT_S)
                os.close(pidfd)
                assert ended, f"{process.name} goes on: {(process / 'comm').read_text()}"


@pytest.fixture(scope="session")
def build() -> Iterator[Build]:
    """A function that compiles a source, once for each set of flags, and gives the program. Skips without compiler."""
    folder = Path(tempfile.mkdtemp(prefix="heaptop-programs-"))
    folder.chmod(0o755)
    built: dict[tuple[str, ...], str] = {}

    def compile_(source: Path | str, *flags: str) -> str:
        path = PROGRAMS / source
        key = (str(path), *flags)
        if key not in built:
            compiler = {".c": "gcc", ".cc": "g++", ".rs": "rustc"}[path.suffix]
            if shutil.which(compiler) is None:
                pytest.skip(f"needs {compiler}")
            program = str(folder / f"{path.stem}-{len(built)}")
            # Debian's gcc-N-multilib alone does not find this folder; gcc-multilib does, but excludes cross compilers.
            also = ("-idirafter", "/usr/include/x86_64-linux-gnu") if "-m32" in flags else ()
            command = [compiler, *flags, *also, str(path), "-o", program]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0 and "-m32" in flags:
                pytest.skip("gcc -m32 does not work here: install gcc-multilib")
            assert done.returncode == 0, done.stderr
            built[key] = program
        return built[key]

    yield compile_
    shutil.rmtree(folder)
