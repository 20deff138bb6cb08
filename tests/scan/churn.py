"""Processes that change at random, looked at after every step by a scan that remembers and by one that does not.

`python -m tests.scan.churn [--bpf] [STEPS [SEED]]` (10,000 steps without) says where the two differ first.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Self

from heaptop.assemble import Assembler
from heaptop.capture import Capture
from heaptop.model import Holder, Snapshot
from heaptop.parse import stat
from heaptop.scan.chunks import Chunks
from heaptop.scan.holders import Holders
from heaptop.scan.incremental import IncrementalScan, Rounds
from heaptop.scan.patience import TIMEOUT_S
from heaptop.scan.proc import ProcScan
from tests.scan.listed import ListedClocks

PREFIX = b"/memfd:dmabuf-"
ACTOR = Path(__file__).with_name("actor.py")
ACTORS_MAX = 8
ENDINGS = ("", "\r", "\n", "\\", " (deleted)", "\x1b[1m")
"""Of names: what a text could be split at, or takes for an escape."""
STEPS = 10_000
VERBS = {
    "new": 8,
    "dup": 6,
    "dup_far": 2,
    "inherit": 3,
    "close": 9,
    "map": 6,
    "map_private": 2,
    "unmap": 5,
    "give": 8,
    "rename": 2,
    "fork": 3,
    "share": 2,
    "thread": 1,
    "exec": 3,
    "exit": 4,
    "nothing": 2,
}
NOTHING_ROUND = Rounds(0, 0, 0)
"""What did not run is not looked at: luck must not hide a mistake."""


@dataclass
class Actor:
    pid: int
    control: socket.socket
    process: subprocess.Popen[bytes] | None = None

    def tell(self, command: str, *fds: int) -> str:
        socket.send_fds(self.control, [command.encode()], fds)
        return self.control.recv(64).decode()

    def close(self) -> None:
        self.control.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Churn:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.actors: list[Actor] = []
        self.steps: list[str] = []

    def __enter__(self) -> Self:
        for _ in range(3):
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self.actors:
            actor.close()

    def start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(ACTOR), str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
        actor = Actor(process.pid, ours, process)
        assert actor.tell("hello") == str(actor.pid)
        self.actors.append(actor)

    def pids(self) -> list[int]:
        return sorted(actor.pid for actor in self.actors)

    def step(self) -> None:
        verb = self.random.choices(list(VERBS), list(VERBS.values()))[0]
        actor = self.random.choice(self.actors)
        number = self.random.randrange(1000)
        self.steps.append(f"{actor.pid}: {verb} {number}")
        match verb:
            case "nothing":
                pass
            case "new":
                actor.tell(f"new {number}{self.random.choice(ENDINGS)}")
            case "give":
                self.give(actor, self.random.choice(self.actors), number)
            case "fork" | "share":
                if len(self.actors) < ACTORS_MAX:
                    self.split(actor, verb)
            case "exec":
                actor.tell("exec")
                actor.tell("hello")  # the new program answers
            case "exit":
                self.end(actor)
            case _:
                actor.tell(f"{verb} {number}")
        self.wait_for_all()

    def wait_for_all(self) -> None:
        """Until all have gone to sleep: the kernel may not have counted the time of who still runs (`Clocks`)."""
        for pid in self.pids():
            while any(state_of(task) == "R" for task in Path(f"/proc/{pid}/task").iterdir()):
                pass

    def give(self, actor: Actor, to: Actor, number: int) -> None:
        if actor is not to and actor.tell(f"give {number}", to.control.fileno()) == "given":
            assert to.control.recv(64) == b"ok"

    def split(self, actor: Actor, verb: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            actor.tell(verb, theirs.fileno())
        child = Actor(0, ours)
        child.pid = int(child.tell("hello"))
        self.actors.append(child)

    def end(self, actor: Actor) -> None:
        self.actors.remove(actor)
        actor.control.send(b"exit")
        while Path(f"/proc/{actor.pid}/task/{actor.pid}/fd/0").is_symlink():
            pass  # it is ended, not yet gone
        actor.close()
        if len(self.actors) < 3:
            self.start()


def state_of(task: Path) -> str:
    """The letter of a thread's state; "X" where it has ended."""
    try:
        return stat.parse((task / "stat").read_bytes()).state
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def chunks_of(*, bpf: bool = False, walks: bool = True, timeout_s: float = TIMEOUT_S, **ways: bool) -> Chunks:
    """Looks at processes to which memfds are buffers; by BPF where that is wanted."""
    scan = ProcScan(is_buffer=lambda link: link.startswith(PREFIX), needle=PREFIX)
    options: dict[str, Any] = {"prefixes": (PREFIX,), "stand_ins": True, **ways}
    if not bpf:
        return Chunks(scan, timeout_s, **options)
    from heaptop.scan.bpf_chunks import BpfChunks
    from heaptop.scan.bpf_here import make, memory_files

    return BpfChunks(scan, timeout_s, make=lambda: make(memory_files(b"dmabuf-"), walks=walks), worth=0, **options)


def scan_of(running: Churn, *, closely: bool = False, chunks: Chunks | None = None, **ways: bool) -> Holders:
    chunks = chunks or chunks_of(**ways)
    scan = IncrementalScan(chunks, ListedClocks(running.pids), NOTHING_ROUND)
    if closely:
        scan.attend()
    return scan


def snapshot_of(scan: Holders, assembler: Assembler) -> Snapshot:
    seen = scan.look()
    nothing: Mapping[str, bytes] = MappingProxyType({})
    return assembler.assemble(
        Capture("kernel", 0.0, nothing, nothing, seen.processes, seen.processes_seen, infos=seen.infos)
    )


def differences(one: Snapshot, other: Snapshot) -> list[str]:
    found = []
    for name in ("buffers", "processes", "exporters", "gaps"):
        ours, theirs = getattr(one, name), getattr(other, name)
        if ours != theirs:
            pairs = zip(ours, theirs, strict=False)
            first = next(((a, b) for a, b in pairs if a != b), (ours[len(theirs) :], theirs[len(ours) :]))
            found.append(f"{name}:\n  {first[0]}\n  {first[1]}")
    return found


def plain(snapshot: Snapshot) -> Snapshot:
    """Without what only a close look tells."""
    return snapshot._replace(
        buffers=tuple(buffer._replace(holders=tuple(map(plain_holder, buffer.holders))) for buffer in snapshot.buffers),
        processes=tuple(process._replace(libraries=None) for process in snapshot.processes),
    )


def plain_holder(holder: Holder) -> Holder:
    return holder._replace(fds=tuple(ref._replace(flags=None) for ref in holder.fds))


def run(
    steps: int, seed: int, *, closely: bool = False, bpf: bool = False, walks: bool = True, **ways: bool
) -> list[str]:
    """Differences after the first step that has any, with what was done before. By `bpf` the remembering scan alone
    looks. It finds private mappings at once, as otherwise only a close look does: what else that tells is left out.
    """
    chunks = chunks_of(bpf=bpf, walks=walks, **ways)
    reference: dict[str, Any] = {} if bpf else dict(ways)
    with Churn(seed) as running, closing(chunks):
        scan, assembler = scan_of(running, closely=closely, chunks=chunks), Assembler()
        for _ in range(steps):
            running.step()
            whole = snapshot_of(scan_of(running, closely=closely or bpf, **reference), Assembler())
            now = snapshot_of(scan, assembler)
            found = differences(*map(plain, (now, whole)) if bpf and not closely else (now, whole))
            if found:
                return [*running.steps[-5:], *found]
        if bpf and chunks.way.name != "BPF":
            return [f"BPF failed: {chunks.way.why}"]
    return []


def main(arguments: list[str]) -> int:
    bpf = "--bpf" in arguments
    numbers = [int(each) for each in arguments if each != "--bpf"]
    steps, seed = (*numbers, *(STEPS, os.getpid())[len(numbers) :])
    found = run(steps, seed, bpf=bpf)
    sys.stdout.write("\n".join(found or [f"{steps} steps from seed {seed}: incremental is equal to full"]) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
