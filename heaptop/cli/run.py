"""`heaptop run`: runs a command whose dma-heap calls the emulator answers, or the kernel while heaptop looks on."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import narrate
from heaptop.errors import UsageError
from heaptop.units import printable

if TYPE_CHECKING:
    from heaptop.trace.supervise.base import Responder
    from heaptop.trace.supervise.front import Event
    from heaptop.trace.supervise.seccomp import Listener

PROFILES: Final = ("mainline", "v4")
TAKES_COMMAND: Final = True

MANUAL: Final = {
    "run": "Runs CMD and all that it starts, unchanged: C, C++, Rust, Python, static, 32-bit. Where the kernel has no "
    "dma-heaps (or with --emulate) CMD sees /dev/dma_heap in a /dev of its own, and its calls are answered from this "
    "user's shared emulator (see heaptop emulator), so that heaptop in another terminal shows its buffers. It ends "
    "with CMD's exit status, or by the signal that ended CMD; 127 and 126 where CMD is not found or not executable. "
    "It needs no rights: a plain user's command runs in a user namespace, where sudo does not work. Set-user-ID "
    "programs work as root.",
}


class Options(CommonOptions):
    """What was asked for."""

    command: tuple[str, ...] = ()
    emulate: bool = False
    profile: str = PROFILES[0]
    quiet: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("--emulate", action="store_true", help="answer from the emulator even where there are heaps")
    parser.add_argument(
        "--profile", metavar="P", choices=PROFILES, help=f"the ABI of emulated heaps: {' or '.join(PROFILES)}"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but what goes wrong")
    parser.add_argument("command", metavar="CMD", nargs=argparse.REMAINDER, help="the command and its arguments")


def check(options: Options) -> None:
    """That there is a command.

    Raises:
        UsageError: there is none.
    """
    if not options.command:
        raise UsageError("no command to run", remedy="heaptop run -- CMD ARGS")


def run(options: Options) -> int:
    """Run the command; its exit status.

    Raises:
        SourceError: it cannot be supervised here.
        CommandError: it cannot be run.
    """
    from heaptop.backend import supply
    from heaptop.trace.supervise import emulate
    from heaptop.trace.supervise.front import Front
    from heaptop.trace.supervise.launch import Plan
    from heaptop.trace.supervise.libc import machine
    from heaptop.trace.supervise.seccomp import Stopped
    from heaptop.trace.supervise.supervisor import Job

    heaps = supply.SharedHeaps()
    abi = supply.abi(options.profile)
    nodes = {abi.node(heap): heap for heap in heaps.names}

    def respond(listener: "Listener", found: Mapping[tuple[int, int], str]) -> "Responder":
        return emulate.Emulation(listener, abi, heaps, {identity: nodes[name] for identity, name in found.items()})

    plan = Plan(
        command=options.command,
        machine=machine(),
        stopped=Stopped(numbers_zero=True, commands=emulate.BUFFER_COMMANDS[1:]),
        heaps=tuple(nodes),
        signals=frozenset(),
    )

    def tell(event: "Event") -> None:
        if event["kind"] == "started" and not options.quiet:
            names = ", ".join(map(printable, nodes))
            narrate(f"heaptop: emulating the dma-heaps {names}; buffers are sealed memfds: no /dev/udmabuf here")

    return Front(Job(plan, respond), narrate, tell).run()
