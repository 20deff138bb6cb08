"""Boots a kernel in QEMU with this machine's root filesystem, and runs a command in it.

The guest is emulated (TCG): it needs no rights and no virtualisation. It sees the host's files at the same paths, read
only below a tmpfs: the same Python and the same checkout, and what it writes is gone afterwards. The command's output
comes through one virtio-serial port and its exit status through another.
"""

import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from tests.vm.cpio import archive
from tests.vm.kernels import Kernel, MissingError, install

INIT_SOURCE = Path(__file__).with_name("init.c")
CONSOLE_LINES = 20
QEMU = ("-accel", "tcg", "-smp", "2", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none")
PASSED_ON = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class Machine:
    """What QEMU emulates: its program and Debian's package of it, its options, the console, and a C compiler for it;
    `append` is for every kernel's command line.
    """

    qemu: str
    package: str
    options: tuple[str, ...]
    console: str
    compiler: str
    compiler_package: str
    append: str = ""


X86_64 = Machine(
    *("qemu-system-x86_64", "qemu-system-x86", ("-M", "q35", "-cpu", "max"), "ttyS0"),
    *(os.environ.get("CC", "gcc"), "gcc"),
    append="no_timer_check",  # an emulated timer is late where the machine is busy, and the kernel would panic
)


class GuestError(Exception):
    """No exit status came back: the guest crashed, took too long, or could not be made."""


def build(source: Path, program: Path, machine: Machine = X86_64) -> None:
    """Compile a static C program.

    Raises:
        MissingError: there is no compiler, or no static C library.
        GuestError: the program does not compile.
    """
    install(machine.compiler, machine.compiler_package)
    command = [machine.compiler, "-O1", "-Wall", "-Wextra", "-static", "-o", str(program), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find -lc" in done.stderr:
        raise MissingError("no static C library: run sudo apt-get install libc6-dev")
    if done.returncode:
        raise GuestError(f"{source.name} does not compile:\n{done.stderr}")


def boot(
    kernel: Kernel,
    command: Sequence[str],
    output: BinaryIO,
    *,
    environment: Mapping[str, str] = MappingProxyType({}),
    timeout_s: float = 300,
    cma: str = "64M",
    memory_mib: int = 1536,
    append: str = "",
    machine: Machine = X86_64,
    root: Path = Path("/"),
    place: Path | None = None,
) -> int:
    """Run `command` as root in the current folder of a guest, and return its exit status; `output` gets what it prints.

    `environment` is added to what the guest gets of this program's own (PASSED_ON); `cma` is the size of the CMA area,
    where the kernel has CMA; `append` more of the kernel's command line. `root` is the folder that is the guest's root
    and `place` the folder in there to run in, where these are not this machine's own.

    Raises:
        MissingError: QEMU or a compiler is missing.
        GuestError: the guest ended without a status; says the end of its console.
    """
    install(machine.qemu, machine.package)
    with tempfile.TemporaryDirectory(prefix="heaptop-vm-") as folder:
        work = Path(folder)
        values = guest_environment(kernel, environment, place)
        initrd(kernel, ["/usr/bin/env", "-i", *values, *command], work, machine)
        options = [
            machine.qemu,
            *machine.options,
            *QEMU,
            "-m",
            str(memory_mib),
            "-kernel",
            str(kernel.image),
            "-initrd",
            str(work / "initrd"),
        ]
        options += [
            "-append",
            f"console={machine.console} panic=-1 quiet loglevel=4 cma={cma} {machine.append} {append}",
        ]
        options += ["-serial", f"file:{work / 'console'}", "-device", "virtio-serial-pci"]
        options += [*port("output", Path("/dev/stdout")), *port("status", work / "status")]
        options += ["-virtfs", f"local,path={root},readonly=on,security_model=none,mount_tag=host,multidevs=remap"]
        ended_in_time = run_machine(options, output, timeout_s)
        status = work / "status"
        if status.is_file() and (text := status.read_text()):
            return int(text)
        why = "without a status" if ended_in_time else f"after {timeout_s:g} s, unfinished"
        console = (work / "console").read_text(errors="replace") if (work / "console").exists() else ""
        raise GuestError("\n".join([f"the guest ended {why}; its console:", *console.splitlines()[-CONSOLE_LINES:]]))


def run_machine(machine: Sequence[str], output: BinaryIO, timeout_s: float) -> bool:
    """Run QEMU until it ends; says whether it ended in time."""
    with subprocess.Popen(machine, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        late = threading.Timer(timeout_s, process.kill)
        late.start()
        try:
            assert process.stdout is not None
            while chunk := os.read(process.stdout.fileno(), 65536):
                output.write(chunk)
                output.flush()
            return process.wait() >= 0
        finally:
            late.cancel()
            process.kill()


def guest_environment(kernel: Kernel, added: Mapping[str, str], place: Path | None) -> list[str]:
    """The arguments of env(1) that make the guest's environment and current folder."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    values = {**passed_on, "HEAPTOP_VM": kernel.name, **added}
    return [f"--chdir={place or os.getcwd()}", *(f"{name}={value}" for name, value in values.items())]


def port(name: str, path: Path) -> tuple[str, ...]:
    """QEMU's options for a virtio-serial port that writes into a file."""
    character_device = f"file,id={name},path={path},append=on"
    return "-chardev", character_device, "-device", f"virtserialport,chardev={name},name=heaptop.{name}"


def initrd(kernel: Kernel, command: Sequence[str], work: Path, machine: Machine) -> None:
    """Write `work/initrd`: init, the command, and the modules that the kernel needs."""
    build(INIT_SOURCE, work / "init", machine)
    files = {"init": (work / "init").read_bytes(), "command": b"".join(os.fsencode(part) + b"\0" for part in command)}
    modules = kernel.modules.read_bytes() if kernel.modules else b""
    (work / "initrd").write_bytes(archive(files) + modules)
