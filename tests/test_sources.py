"""What `--source` picks and leaves out."""

import pytest

from heaptop.errors import UsageError
from heaptop.sources import SOURCES, source_of, switched_off


@pytest.mark.parametrize(
    ("choices", "left"),
    [
        (["bufinfo"], {"bufinfo"}),
        (["bufinfo,fd", "maps"], {"bufinfo", "fd", "maps"}),
        (["-bufinfo"], SOURCES.keys() - {"bufinfo"}),
        (["-bufinfo, -bpf", "-maps"], SOURCES.keys() - {"bufinfo", "bpf", "maps"}),
        (["bufinfo,fd,-fd"], {"bufinfo"}),
    ],
)
def test_choices(choices: list[str], left: set[str]) -> None:
    assert switched_off(choices) == SOURCES.keys() - left


@pytest.mark.parametrize("choice", ["nope", "", "bufinfo,", "--bufinfo", "-", "fd,-fd", "tasks"])
def test_what_cannot_be_taken(choice: str) -> None:
    with pytest.raises(UsageError):
        switched_off([choice])


def test_an_unknown_name_tells_all() -> None:
    with pytest.raises(UsageError, match=", ".join(SOURCES)):
        switched_off(["bufinf"])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("sys/kernel/debug/dma_buf/bufinfo", "bufinfo"),
        ("sys/kernel/debug/cma/reserved/bitmap", "debugfs-cma"),
        ("sys/kernel/debug/cma", "debugfs-cma"),
        ("sys/kernel/debug/cmax", None),
        ("sys/kernel/debug", None),
        ("proc/meminfo", None),
    ],
)
def test_source_of_a_path(path: str, name: str | None) -> None:
    assert source_of(path) == name
