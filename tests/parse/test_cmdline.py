from hypothesis import given
from hypothesis import strategies as st

from heaptop.parse import cmdline
from tests.conftest import CaptureDir


@given(st.lists(st.binary().map(lambda word: word.replace(b"\0", b"")), min_size=1))
def test_any_arguments(words: list[bytes]) -> None:
    assert cmdline.parse(b"".join(word + b"\0" for word in words)) == tuple(words)


def test_kernel_thread_and_overwritten() -> None:
    assert cmdline.parse(b"") == ()
    assert cmdline.parse(b"nginx: worker process") == (b"nginx: worker process",)


def test_captured(capture_dir: CaptureDir, capture_name: str) -> None:
    words = cmdline.parse((capture_dir(capture_name) / "proc/1/cmdline").read_bytes())
    assert words == (b"/bin/busybox", b"sh", b"/init")
