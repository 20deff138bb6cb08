"""What the wheel holds is what the tree holds."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed() -> None:
    found = {"heaptop.themes"}
    for source_root in (ROOT, ROOT / "emulator"):
        for init in source_root.glob("heaptop*/**/__init__.py"):
            found.add(".".join(init.parent.relative_to(source_root).parts))
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found


def test_every_cython_module_is_built() -> None:
    sources = {source for module in PROJECT["tool"]["setuptools"]["ext-modules"] for source in module["sources"]}
    assert sources == {str(path.relative_to(ROOT)) for path in ROOT.glob("[eh]*/**/*.pyx")}


def test_changelog_knows_the_version() -> None:
    assert PROJECT["project"]["version"]
    assert (
        "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()
        or PROJECT["project"]["version"] in (ROOT / "CHANGELOG.md").read_text()
    )
