"""The machine as a whole."""

import pytest

from heaptop import recording
from heaptop.assemble import assemble
from tests.support import archive


def test_free_cma_blocks_of_a_real_kernel() -> None:
    snapshot = assemble(recording.read(str(archive("7.2.13-x86_64"))))
    assert snapshot.memory.cma_free_blocks == (1, 1, 1, 1, 9, 7, 0, 8, 2, 1, 7)


@pytest.mark.parametrize("text", [None, b">100000", b"noise"])
def test_free_cma_blocks_that_no_file_tells(text: bytes | None) -> None:
    path = "proc/pagetypeinfo"
    capture = recording.read(str(archive("7.2.13-x86_64")))
    files = dict(capture.files)
    whole = files.pop(path)
    assert isinstance(whole, bytes)
    if text is not None:
        files[path] = whole.replace(b"CMA      1", b"CMA " + text) if text.startswith(b">") else text
    snapshot = assemble(capture._replace(files=files))
    assert snapshot.memory.cma_free_blocks is None
    assert any("pagetypeinfo" in gap.what for gap in snapshot.gaps) == (text == b"noise")
