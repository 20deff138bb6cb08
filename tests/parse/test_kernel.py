import pytest

from heaptop.errors import ParseError
from heaptop.parse import kernel
from tests.conftest import CaptureDir


@pytest.mark.parametrize(
    ("release", "numbers"),
    [
        (b"6.12.117+deb12-amd64", (6, 12)),
        (b"5.10.43-android12-9-00001-gabc-ab123", (5, 10)),
        (b"7.3-rc1", (7, 3)),
    ],
)
def test_releases(release: bytes, numbers: tuple[int, int]) -> None:
    assert kernel.osrelease(release + b"\n") == release
    assert kernel.version(b"Linux version " + release + b" (a@b) (gcc 12) #1 SMP\n") == release
    assert kernel.numbers(release) == numbers


def test_boot_id() -> None:
    uuid = b"0d5f7a3e-8f3e-4a44-9a8e-4c0f1f0f3d11"
    assert kernel.boot_id(uuid + b"\n") == uuid
    with pytest.raises(ParseError):
        kernel.boot_id(uuid + b" and more\n")


def test_broken() -> None:
    for parse in (kernel.osrelease, kernel.version, kernel.numbers, kernel.boot_id):
        for data in (b"", b"noise\n", b"\x1b[2J6.12\n", b"6\n"):
            with pytest.raises(ParseError):
                parse(data)


def test_captured(capture_dir: CaptureDir, capture_name: str) -> None:
    proc = capture_dir(capture_name) / "proc"
    release = kernel.osrelease((proc / "sys/kernel/osrelease").read_bytes())
    assert kernel.version((proc / "version").read_bytes()) == release
    assert kernel.numbers(release) in {(6, 12), (7, 2)}
