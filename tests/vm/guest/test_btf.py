"""The types of a real kernel's modules: Debian's stock kernel has vgem, overlay and 9p as modules with split BTF."""

from pathlib import Path

import pytest

from heaptop.scan.btf import STRUCT, Btf

FOLDER = Path("/sys/kernel/btf")
OWN_STRUCTS = {"vgem": ("vgem_fence", "base", "dma_fence"), "overlay": ("ovl_inode", "vfs_inode", "inode")}
"""For each module a struct of its own, with a member whose type is the kernel's."""


@pytest.mark.parametrize("module", OWN_STRUCTS)
def test_a_modules_own_struct(module: str) -> None:
    path = FOLDER / module
    if not path.exists():
        pytest.skip("not a module here, or without BTF")
    base = Btf((FOLDER / "vmlinux").read_bytes())
    split = Btf(path.read_bytes(), base)
    struct, member, kernels = OWN_STRUCTS[module]
    assert split.id_of(struct, STRUCT) > base.parts[0].last
    assert split.offset(struct, member) + base.size(kernels) <= split.size(struct)
    assert split.size(kernels) == base.size(kernels)
