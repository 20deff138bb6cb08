"""Boots a kernel in QEMU with this machine's root filesystem, and runs a command in it.

The guest is emulated (TCG): it needs no rights and no virtualisation. It sees the host's files at the same paths, read
only below a tmpfs: the same Python and the same checkout, and what it writes is gone afterwards. The command's output
comes through one virtio-serial port and its exit status through another.
"""

import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from tests.vm.cpio import archive
from tests.vm.kernels import Kernel, Missing, install, run

INIT_SOURCE = Path(__file__).with_name("init.c")
CONSOLE_LINES = 20
PASSED_ON = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")


class GuestError(Exception):
    """The guest ended without an exit status: it crashed, or was ended for taking too long."""


def build(source: Path, program: Path) -> None:
    """Compile a static C program.

    Raises:
        Missing: there is no compiler, or no static C library.
    """
    run(os.environ.get("CC", "gcc"), "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", str(program), str(source))


def boot(
    kernel: Kernel,
    command: Sequence[str],
    output: BinaryIO,
    *,
    timeout_s: float = 300,
    cma: str = "64M",
    memory_mib: int = 1536,
    append: str = "",
) -> int:
    """Run `command` as root in the current folder of a guest, and return its exit status; `output` gets what it prints.

    `cma` is the size of the CMA area, where the kernel has CMA; `append` more of the kernel's command line.

    Raises:
        Missing: QEMU or a compiler is missing.
        GuestError: the guest ended without a status; says the end of its console.
    """
    install("qemu-system-x86_64", "qemu-system-x86")
    with tempfile.TemporaryDirectory(prefix="heaptop-vm-") as folder:
        work = Path(folder)
        initrd(kernel, command, work)
        machine = ["qemu-system-x86_64", *"-M q35 -accel tcg -cpu max -smp 2 -no-reboot".split()]
        machine += [*"-nodefaults -no-user-config -display none".split(), "-m", str(memory_mib)]
        machine += ["-kernel", str(kernel.image), "-initrd", str(work / "initrd")]
        machine += ["-append", f"console=ttyS0 panic=-1 quiet loglevel=4 cma={cma} {append}"]
        machine += ["-serial", f"file:{work / 'console'}", "-device", "virtio-serial-pci"]
        machine += [*port("output", Path("/dev/stdout")), *port("status", work / "status")]
        machine += ["-virtfs", "local,path=/,readonly=on,security_model=none,mount_tag=host,multidevs=remap"]
        ended_in_time = run_machine(machine, output, timeout_s)
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


def port(name: str, path: Path) -> tuple[str, ...]:
    """QEMU's options for a virtio-serial port that writes into a file."""
    character_device = f"file,id={name},path={path},append=on"
    return "-chardev", character_device, "-device", f"virtserialport,chardev={name},name=heaptop.{name}"


def initrd(kernel: Kernel, command: Sequence[str], work: Path) -> None:
    """Write `work/initrd`: init, the command, and the modules that the kernel needs."""
    build(INIT_SOURCE, work / "init")
    passed_on = [f"{name}={os.environ[name]}" for name in PASSED_ON if name in os.environ]
    whole = ["/usr/bin/env", "-i", f"--chdir={os.getcwd()}", *passed_on, f"HEAPTOP_VM={kernel.name}", *command]
    files = {"init": (work / "init").read_bytes(), "command": b"".join(os.fsencode(part) + b"\0" for part in whole)}
    modules = kernel.modules.read_bytes() if kernel.modules else b""
    (work / "initrd").write_bytes(archive(files) + modules)


__all__ = ["GuestError", "Missing", "boot", "build"]
