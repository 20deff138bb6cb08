"""`heaptop doctor` on a real kernel: root can read all that is there."""

import os

from tests.vm.guest.conftest import document
from tests.vm.guest.truth import rows


def test_root() -> None:
    checks = {str(check["name"]): check for check in rows(document("doctor")["checks"])}
    assert checks
    assert [name for name, check in checks.items() if check["there"] and check["readable"] is False] == []
    assert all(check["readable"] or check["remedy"] or check["detail"] for check in checks.values())
    text = " ".join(checks)
    assert "bufinfo" in text
    assert os.path.exists("/dev/dma_heap")


def test_a_plain_user_gets_remedies(plain_user: int) -> None:
    checks = list(rows(document("doctor", uid=plain_user)["checks"]))
    unreadable = [check for check in checks if check["there"] and not check["readable"]]
    assert unreadable
    assert all(check["remedy"] for check in unreadable), unreadable
