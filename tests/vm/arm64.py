"""`python -m tests.vm.arm64 [--kernel NAME] [COMMAND...]`: the guest's tests on an emulated arm64 machine.

The guest's root is a folder of its own: Debian's arm64 Python, unpacked and not installed, the checkout, the packages
of this Python that are pure, and heaptop's compiled parts by a cross compiler. Debian's own arm64 kernels have no
dma-heaps: `make vm-kernel KERNEL=6.12 VM_MACHINE=arm64` builds one that has. Not a part of CI: it is slow.

Exit status: the command's; 124 where the guest came to no end, 125 where no guest can be had.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from tests.vm.kernels import Kernel, MissingError, folders, own_folder, run
from tests.vm.machine import GuestError, Machine, boot, build

ARM64 = Machine(
    *("qemu-system-aarch64", "qemu-system-arm", ("-M", "virt,gic-version=3", "-cpu", "cortex-a57"), "ttyAMA0"),
    *("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
)
CHECKOUT = Path(__file__).parents[2]
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = (PYTHON, f"lib{PYTHON}-dev", "coreutils", "dash", "grep", "sed", "mount", "util-linux")
"""What the tests run, and what they run it by; the rest is what these depend on."""
PLACE, SITE = Path("/heaptop"), Path("/site")
TESTS = (f"/usr/bin/{PYTHON}", "-m", "pytest", "-c", f"{PLACE}/tests/vm/guest/pytest.ini", f"{PLACE}/tests/vm/guest")
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PYTHONPATH": os.pathsep.join(map(str, (PLACE, PLACE / "emulator", SITE))),
    "HEAPTOP_VM_WORKLOAD": "/workload",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}
TIMEOUT_S = 1800


def find(name: str) -> Kernel:
    """An arm64 kernel that was built.

    Raises:
        MissingError: there is none of that name.
    """
    for folder in folders():
        image = folder / f"kernel-{name}-arm64" / "Image"
        if image.is_file():
            return Kernel(f"{name}-arm64", image, None)
    raise MissingError(f"no arm64 kernel {name}: run make vm-kernel KERNEL={name} VM_MACHINE=arm64")


def debian_root() -> Path:
    """The folder with Debian's arm64 packages, fetched and unpacked where it is not there yet.

    Raises:
        MissingError: they cannot be fetched.
    """
    home = own_folder().parent / f"root-{PYTHON}-arm64"
    if home.is_dir():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        # An apt state of its own, in which nothing is installed: all is fetched, and this machine stays as it is.
        state = Path(folder) / "apt"
        for part in ("lists/partial", "cache/archives/partial"):
            (state / part).mkdir(parents=True)
        (state / "status").touch()
        options = (
            *(
                "-o",
                f"Dir::State={state}",
                "-o",
                f"Dir::State::status={state}/status",
                "-o",
                f"Dir::Cache={state}/cache",
            ),
            *("-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64"),
            *("-o", "APT::Sandbox::User=root"),
        )
        run("apt-get", *options, "update")
        run("apt-get", *options, "install", "--download-only", "--no-install-recommends", "-y", *PACKAGES)
        ready = Path(folder) / "root"
        ready.mkdir()
        for archive in sorted((state / "cache/archives").glob("*.deb")):
            run("dpkg-deb", "--extract", str(archive), str(ready))
        for name in ("proc", "sys", "dev", "run", "tmp", "root", "bin"):
            (ready / name).mkdir(exist_ok=True)
        if not (ready / "bin/sh").exists():
            (ready / "bin/sh").symlink_to("dash")
        if not home.exists():  # another run may have been faster
            ready.rename(home)
    return home


def fill(root: Path, debian: Path) -> None:
    """Lay Debian's folder, the checkout and this Python's pure packages into `root`, and compile heaptop's parts.

    Raises:
        MissingError: a compiler is missing.
    """
    # Hard links where that can be: it is some hundred MiB.
    subprocess.run(["cp", "-al", f"{debian}/.", str(root)], check=True)
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=CHECKOUT).split("\0")
    for name in filter(None, listed):
        source, target = CHECKOUT / name, root / PLACE.relative_to("/") / name
        if source.exists() or source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    skip = shutil.ignore_patterns("*.so", "__pycache__", "__editable__*", "*.pth", "mypy*", "Cython", "pip", "heaptop*")
    shutil.copytree(sysconfig.get_path("purelib"), root / SITE.relative_to("/"), ignore=skip, symlinks=True)
    (root / "tmp").chmod(0o1777)
    place = root / PLACE.relative_to("/")
    for source in sorted(path for folder in ("heaptop", "emulator") for path in (place / folder).rglob("*.pyx")):
        compile_part(source, debian)


def compile_part(source: Path, debian: Path) -> None:
    """A Cython part, for the guest's Python; without it heaptop's plain Python does the same."""
    run(sys.executable, "-m", "cython", "-3", str(source))
    includes = [f"-I{debian}/usr/include/{PYTHON}", f"-I{debian}/usr/include"]
    target = source.with_suffix(f".cpython-{sys.version_info.major}{sys.version_info.minor}-aarch64-linux-gnu.so")
    flags = ("-O2", "-shared", "-fPIC", "-w")
    run(ARM64.compiler, *flags, *includes, str(source.with_suffix(".c")), "-o", str(target))


def main() -> int:
    """Make the root, boot, run, pass the status on."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm.arm64", description=__doc__)
    parser.add_argument("--kernel", default="6.12")
    parser.add_argument("--cma", default="64M")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="SECONDS")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        kernel, debian = find(options.kernel), debian_root()
        with tempfile.TemporaryDirectory(prefix="heaptop-arm64-", dir=debian.parent) as folder:
            root = Path(folder)
            fill(root, debian)
            build(Path(__file__).with_name("workload.c"), root / "workload", ARM64)
            return boot(
                kernel,
                options.command or TESTS,
                sys.stdout.buffer,
                environment=ENVIRONMENT,
                timeout_s=options.timeout,
                cma=options.cma,
                machine=ARM64,
                root=root,
                place=PLACE,
            )
    except (MissingError, GuestError) as error:
        sys.stderr.write(f"heaptop-vm: {error}\n")
        return 124 if isinstance(error, GuestError) else 125


if __name__ == "__main__":
    sys.exit(main())
