"""`heaptop doctor` on a real kernel: root can read all that is there."""

from tests.vm.guest.conftest import document
from tests.vm.guest.truth import Json, rows


def unreadable(checks: dict[str, Json]) -> dict[str, Json]:
    """Sources that are there, or may be, and cannot be read."""
    return {name: check for name, check in checks.items() if check["there"] is not False and check["readable"] is False}


def test_root_reads_all_that_is_there() -> None:
    checks = {str(check["name"]): check for check in rows(document("doctor")["checks"])}
    assert unreadable(checks) == {}
    assert checks["bufinfo"]["readable"] is True
    assert all(check["readable"] or check["remedy"] or check["detail"] for check in checks.values())


def test_a_plain_user_gets_remedies(plain_user: int) -> None:
    checks = {str(check["name"]): check for check in rows(document("doctor", uid=plain_user)["checks"])}
    assert "bufinfo" in unreadable(checks)
    assert all(check["remedy"] for check in unreadable(checks).values())
