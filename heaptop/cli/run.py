"""`heaptop run`: runs a command whose dma-heap calls the emulator answers, or the kernel while heaptop looks on."""

import argparse
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final

from heaptop.cli import values
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.options import closest
from heaptop.cli.output import narrate
from heaptop.errors import SourceError, UsageError
from heaptop.units import printable

if TYPE_CHECKING:
    from heaptop.trace.supervise.base import Responder
    from heaptop.trace.supervise.faults import Injector
    from heaptop.trace.supervise.launch import Plan
    from heaptop.trace.supervise.seccomp import Listener
    from heaptop.trace.supervise.supervisor import Job, Nodes

PROFILES: Final = ("mainline", "v4")
TAKES_COMMAND: Final = True

MANUAL: Final = {
    "run": "Runs CMD and all that it starts, unchanged: C, C++, Rust, Python, static, 32-bit. Where the kernel has no "
    "dma-heaps (or with --emulate) CMD sees /dev/dma_heap in a /dev of its own, and its calls are answered from this "
    "user's shared emulator (see heaptop emulator), so that heaptop in another terminal shows its buffers. Where the "
    "kernel has heaps (or with --observe) the kernel answers, and heaptop looks on. Either way each allocation can be "
    "told, delayed, or refused on demand, to try CMD's error paths. It ends with CMD's exit status, or by the signal "
    "that ended CMD; 127 and 126 where CMD is not found or not executable. It needs no rights: a plain user's command "
    "runs in a user namespace or with no_new_privs, where sudo does not work; as root set-user-ID programs do.",
}


class Options(CommonOptions):
    """What was asked for."""

    command: tuple[str, ...] = ()
    emulate: bool = False
    observe: bool = False
    profile: str | None = None
    fail_nth: int | None = None
    fail_heap: str | None = None
    latency: float = 0.0
    limit: int | None = None
    events: bool = False
    output: str | None = None
    quiet: bool = False
    stacks: bool = True


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("--emulate", action="store_true", help="answer from the emulator even where there are heaps")
    parser.add_argument("--observe", action="store_true", help="let the kernel answer, and look on")
    profiles = " or ".join(PROFILES)
    parser.add_argument("--profile", metavar="P", choices=PROFILES, help=f"the ABI of emulated heaps: {profiles}")
    parser.add_argument(
        "--fail-nth", metavar="N", type=values.count, help="refuse the Nth allocation with ENOMEM (of --fail-heap's)"
    )
    parser.add_argument("--fail-heap", metavar="HEAP", help="refuse every allocation from HEAP with ENOMEM")
    parser.add_argument(
        "--latency", metavar="DURATION", type=values.latency, help="let every allocation take so much longer"
    )
    parser.add_argument(
        "--limit", metavar="BYTES", type=values.size, help="refuse what would make the live buffers more than that"
    )
    parser.add_argument("--events", action="store_true", help="tell each allocation on stderr; with --json as JSON")
    parser.add_argument("-o", "--output", metavar="FILE", help="tell each allocation in FILE instead")
    parser.add_argument(
        "--no-stacks", dest="stacks", action="store_false", help="take no note of where buffers are allocated"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but what goes wrong")
    parser.add_argument("command", metavar="CMD", nargs=argparse.REMAINDER, help="the command and its arguments")


def check(options: Options) -> None:
    """That there is a command, and what is asked for goes together.

    Raises:
        UsageError: it does not.
    """
    if not options.command:
        raise UsageError("no command to run", remedy="heaptop run -- CMD ARGS")
    if options.emulate and options.observe:
        raise UsageError("--emulate and --observe", "either the emulator answers or the kernel does")
    if options.observe and options.profile is not None:
        raise UsageError("--profile says nothing to --observe", "the kernel has an ABI of its own")


def run(options: Options) -> int:
    """Run the command; its exit status.

    Raises:
        UsageError: no such heap.
        SourceError: it cannot be supervised here.
        CommandError: it cannot be run.
    """
    from heaptop.cli.run_report import Report
    from heaptop.trace.supervise import launch, observe
    from heaptop.trace.supervise.front import Front, reserve_standard_fds

    reserve_standard_fds()
    if launch.is_supervised():
        return _run_inside(options)
    heaps = observe.heaps_here()
    if options.observe and not heaps:
        raise SourceError("this kernel has no dma-heap to observe", remedy="leave --observe out, or take --emulate")
    if options.observe or (heaps and not options.emulate):
        job, started = _observing(options, heaps)
    else:
        job, started = _emulating(options)
    with Report(options, started) as report:
        return Front(job, narrate, report.hear).run()


def _run_inside(options: Options) -> int:
    """Under another `heaptop run`, which answers for all that runs in it: be the command.

    Raises:
        SourceError: something is asked for that only the outer one could do.
        CommandError: it cannot be run.
    """
    from heaptop.trace.supervise.launch import execute
    from heaptop.trace.supervise.refusal import CommandError

    here = Options(command=options.command, emulate=options.emulate, quiet=options.quiet)
    if any(getattr(options, name) != getattr(here, name) for name in vars(options).keys() - {"verb"}):
        raise SourceError(
            "heaptop run inside heaptop run", "the outer one answers", "give these options to the outer one"
        )
    if not options.quiet:
        narrate("heaptop: this is inside another heaptop run, which answers")
    try:
        execute(options.command, frozenset())
    except OSError as error:
        raise CommandError(options.command[0], error.errno or 0) from error


def _observing(options: Options, heaps: Mapping[int, str]) -> tuple["Job", str]:
    """What to do, and what is said of it."""
    from heaptop.stacks import shelf
    from heaptop.trace.supervise import observe
    from heaptop.trace.supervise.launch import Plan
    from heaptop.trace.supervise.libc import machine
    from heaptop.trace.supervise.live import LiveBytes
    from heaptop.trace.supervise.seccomp import Stopped

    if options.profile is not None:
        raise UsageError("--profile says nothing here", "this kernel has heaps, which are observed", "take --emulate")
    injector = _injector(options, tuple(heaps.values()))

    def respond(_listener: "Listener", _nodes: Mapping[tuple[int, int], str]) -> "Responder":
        return observe.Observation(heaps, injector, None if options.limit is None else LiveBytes())

    plan = Plan(options.command, machine(), Stopped(all_of_a_heap=False), heaps=None)
    job = _with_call_sites(_job(options, plan, respond), options, shelf.KERNEL, _alive_in_the_kernel)
    return job, f"heaptop: observing this kernel's dma-heaps {_named(heaps.values())}"


def _emulating(options: Options) -> tuple["Job", str]:
    """What to do, and what is said of it."""
    from heaptop.backend import supply
    from heaptop.stacks import shelf
    from heaptop.trace.supervise import emulate, udmabuf
    from heaptop.trace.supervise.launch import Plan
    from heaptop.trace.supervise.libc import machine
    from heaptop.trace.supervise.live import LiveBytes
    from heaptop.trace.supervise.opening import NodeFolder, Opening
    from heaptop.trace.supervise.seccomp import Stopped

    known = machine()
    heaps = supply.SharedHeaps()
    abi = supply.abi(options.profile or PROFILES[0])
    nodes = {node.name: node for node in (emulate.Node(abi.node(heap), heap) for heap in heaps.names)}
    injector = _injector(options, tuple(nodes))

    why_not = udmabuf.why_not()

    def respond(listener: "Listener", found: Mapping[tuple[int, int], str]) -> "Responder":
        folder = None if found else NodeFolder(supply.runtime_folder(), tuple(nodes))
        by_identity = {identity: nodes[name] for identity, name in (folder.identities if folder else found).items()}
        live = None if options.limit is None else LiveBytes()
        if why_not:
            emulation = emulate.Emulation(listener, abi, heaps, by_identity, injector=injector, live=live)
        else:
            udmabuf.raise_limit()
            bufs = udmabuf.Udmabufs()
            real = udmabuf.RealBuffers(heaps, bufs)
            emulation = emulate.Emulation(
                listener, abi, real, by_identity, injector=injector, live=live, tend=bufs.tend
            )
        return emulation if folder is None else Opening(listener, known, folder, emulation)

    stopped = Stopped(all_of_a_heap=True, commands=emulate.BUFFER_COMMANDS)
    plan = Plan(options.command, known, stopped, heaps=tuple(nodes))
    fallback = Plan(options.command, known, stopped._replace(opens=True), heaps=None)
    job = _job(options, plan, respond)._replace(fallback=fallback)
    job = _with_call_sites(job, options, shelf.EMULATOR, heaps.alive)
    kind = f"sealed memfds: {why_not}" if why_not else "real dma-bufs from /dev/udmabuf"
    return job, f"heaptop: emulating the dma-heaps {_named(nodes)}; buffers are {kind}"


def _injector(options: Options, heaps: Sequence[str]) -> "Injector":
    from heaptop.trace.supervise.faults import Faults, Injector

    if options.fail_heap is not None and options.fail_heap not in heaps:
        raise UsageError(f"no heap {printable(options.fail_heap)!r}", remedy=closest(options.fail_heap, heaps))
    return Injector(Faults(options.fail_nth, options.fail_heap, options.limit))


def _job(options: Options, plan: "Plan", respond: Callable[["Listener", "Nodes"], "Responder"]) -> "Job":
    from heaptop.trace.supervise.supervisor import Job

    tells = options.events or options.json or options.output is not None
    return Job(plan, respond, latency_s=options.latency, tells_events=tells)


def _with_call_sites(job: "Job", options: Options, kind: str, alive: Callable[[], Collection[int] | None]) -> "Job":
    """The same, keeping call stacks where other heaptops of this user find them (see heaptop sites)."""
    if not options.stacks:
        return job
    from heaptop.trace.call_sites import RecordedSites

    try:
        sites = RecordedSites(kind, alive)
    except SourceError as error:
        narrate(f"note: {error}")
        return job
    return job._replace(call_sites=lambda: sites)


def _alive_in_the_kernel() -> Collection[int]:
    from heaptop.assemble import assemble
    from heaptop.backend.kernel import KernelBackend

    with closing(KernelBackend()) as backend:
        return frozenset(buffer.inode for buffer in assemble(backend.capture()).buffers)


def _named(heaps: Iterable[str]) -> str:
    return ", ".join(map(printable, heaps))
