"""What is read of an area that failed, in the three layouts of debugfs."""

from pathlib import Path

import pytest

from heaptop.trace.cma_files import CmaFiles

FOLDER = "sys/kernel/debug/cma"


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (root / FOLDER / path).write_text(f"{path}\n")


@pytest.mark.parametrize(
    ("area", "paths"),
    [
        ("reserved", ("reserved/count", "reserved/base_pfn", "reserved/bitmap")),
        ("reserved", ("cma-reserved/count", "cma-reserved/bitmap")),
        ("linux,cma@58000000", ("cma-linux,cma@58/count", "cma-linux,cma@5/bitmap")),
        ("two", ("two/count", "two/ranges/0/bitmap", "two/ranges/1/base_pfn", "two/ranges/1/bitmap")),
    ],
)
def test_its_files(area: str, paths: tuple[str, ...], tmp_path: Path) -> None:
    put(tmp_path, *paths, "other/count", f"{paths[0].partition('/')[0]}/alloc")
    folder = f"cma-{area}"[:15] if paths[0].startswith("cma-") else area
    expected = {path for path in paths if path.startswith(folder + "/")}
    found = CmaFiles(str(tmp_path)).read(area)
    assert found == {f"{FOLDER}/{path}": f"{path}\n".encode() for path in expected}
    assert found


def test_an_area_that_debugfs_does_not_show(tmp_path: Path) -> None:
    assert CmaFiles(str(tmp_path)).read("reserved") == {}
