"""Kernels to boot: found in a cache folder, else Debian's stock package, else what `make vm-kernel` built.

A cache folder holds `kernel-NAME-x86_64/bzImage` and, where the image lacks drivers that the guest needs, `modules.gz`
beside it: a gzipped cpio with `mods/list` and the modules that it names, in the order to load them.
"""

import gzip
import lzma
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.vm.cpio import archive

STOCK = {"debian": "6.12", "debian-6.1": "6.1"}
"""Names of Debian's own kernels, and their versions: nothing to compile, a system heap, no CMA."""

STOCK_MODULES = ("virtio_pci", "virtio_console", "overlay", "9pnet_virtio", "9p", "vgem")


class MissingError(Exception):
    """A kernel or a program cannot be had here; says in one line why and what to do."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel's image, and the modules to load before anything else."""

    name: str
    image: Path
    modules: Path | None


def own_folder() -> Path:
    """Where fetched and built kernels are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heaptop" / "kernels"


def folders() -> tuple[Path, ...]:
    """Where to look, best first. The folder that HEAPTOP_VM_KERNELS names is never written to."""
    given = os.environ.get("HEAPTOP_VM_KERNELS")
    return (*((Path(given),) if given else ()), own_folder())


def names() -> tuple[str, ...]:
    """All kernels that are there already."""
    pattern = re.compile(r"kernel-(.+)-x86_64")
    found = (pattern.fullmatch(image.parent.name) for folder in folders() for image in folder.glob("kernel-*/bzImage"))
    return tuple(sorted({match[1] for match in found if match}))


def find(name: str) -> Kernel:
    """The kernel of that name; one of Debian's stock kernels is fetched where it is not there.

    Raises:
        MissingError: it cannot be had.
    """
    for folder in folders():
        home = folder / f"kernel-{name}-x86_64"
        if (home / "bzImage").is_file():
            modules = home / "modules.gz"
            return Kernel(name, home / "bzImage", modules if modules.is_file() else None)
    if name not in STOCK:
        raise MissingError(f"no kernel {name} in {', '.join(map(str, folders()))}: run make vm-kernel KERNEL={name}")
    return fetch_stock(name, own_folder() / f"kernel-{name}-x86_64")


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a program of the system; returns its stdout.

    Raises:
        MissingError: it is not there or fails.
    """
    try:
        return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise MissingError(f"no {command[0]} on this machine") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip() or error.stdout.strip() or f"exit {error.returncode}").splitlines()[-1]
        raise MissingError(f"{' '.join(command)}: {last}") from None


def install(program: str, package: str) -> None:
    """See that `program` is there: on Debian root may install its package.

    Raises:
        MissingError: it is not, and cannot be installed.
    """
    if shutil.which(program):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingError(f"no {program}: run sudo apt-get install {package}")
    command = ("apt-get", "install", "-y", "--no-install-recommends", package)
    try:
        run(*command)
    except MissingError:  # a fresh container has no package lists
        run("apt-get", "update")
        run(*command)


def fetch_stock(kernel: str, home: Path) -> Kernel:
    """Unpack the newest of Debian's stock kernels of that name into `home`.

    Raises:
        MissingError: this machine's package sources do not have it.
    """
    version = STOCK[kernel]
    package = newest_stock(version)
    if package is None and os.geteuid() == 0:
        run("apt-get", "update")
        package = newest_stock(version)
    if package is None:
        raise MissingError(f"no linux-image-{version} package in this machine's suites: run make vm-kernel")
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        work = Path(folder)
        run("apt-get", "download", package, cwd=work)
        run("dpkg-deb", "--extract", str(next(work.glob("*.deb"))), "unpacked", cwd=work)
        ready = work / "ready"
        ready.mkdir()
        modules = {"mods/list": b""}
        for path in load_order(STOCK_MODULES, work / "unpacked"):
            name = path.name.removesuffix(".xz")
            modules["mods/list"] += f"{name}\n".encode()
            modules[f"mods/{name}"] = module_bytes(path)
        (ready / "modules.gz").write_bytes(gzip.compress(archive(modules), 1))
        shutil.copy(next(work.glob("unpacked/boot/vmlinuz-*")), ready / "bzImage")
        if not home.exists():  # another run may have been faster
            ready.rename(home)
    return Kernel(kernel, home / "bzImage", home / "modules.gz")


def newest_stock(version: str) -> str | None:
    """The package's name, the highest revision's; its cloud and rt variants are not meant."""
    start = f"linux-image-{re.escape(version)}[.]"
    listed = run("apt-cache", "search", "--names-only", f"^{start}").splitlines()
    packages = [line.split(" ")[0] for line in listed]
    of_it = re.compile(start + "[0-9][^ ]*-amd64(-unsigned)?")
    stock = [name for name in packages if of_it.fullmatch(name) and not re.search("-(cloud|rt)-", name)]
    return max(stock, key=lambda name: [int(part) for part in re.findall("[0-9]+", name)], default=None)


def module_bytes(path: Path) -> bytes:
    """A module's object file, unpacked."""
    packed = path.read_bytes()
    return lzma.decompress(packed) if path.suffix == ".xz" else packed


def load_order(wanted: tuple[str, ...], root: Path) -> Iterator[Path]:
    """The modules and what they depend on, each after what it needs. One that is built in has no file."""
    files = {path.name.partition(".")[0].replace("-", "_"): path for path in root.rglob("*.ko*")}
    seen: set[str] = set()

    def visit(name: str) -> Iterator[Path]:
        if name in seen or name not in files:
            return
        seen.add(name)
        depends = re.search(rb"\0depends=([^\0]*)\0", module_bytes(files[name]))
        for other in depends[1].decode().split(",") if depends else ():
            yield from visit(other.replace("-", "_"))
        yield files[name]

    for name in wanted:
        yield from visit(name)
