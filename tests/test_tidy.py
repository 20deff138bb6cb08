"""Style that a linter does not know: sizes of modules and functions, no dead module, no machine's path."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
SOURCES = sorted(
    path
    for folder in ("heaptop", "emulator", "tests", "tools")
    for suffix in ("*.py", "*.pyx")
    for path in (ROOT / folder).rglob(suffix)
)
PRODUCT = [path for path in SOURCES if "tests" not in path.relative_to(ROOT).parts]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield node.name, node.end_lineno - node.lineno + 1
        return
    lines = path.read_text().splitlines()
    starts = [
        i for i, line in enumerate(lines) if re.match(r"\s*(cpdef|cdef(?!\s+(class|struct|enum))|def)\b.*\(", line)
    ]
    for start in starts:
        indent = len(lines[start]) - len(lines[start].lstrip())
        body = lines[start + 1 :]
        end = next(
            (
                i
                for i, line in enumerate(body)
                if line.strip() and len(line) - len(line.lstrip()) <= indent and line.strip()[0] != ")"
            ),
            len(body),
        )
        yield lines[start].strip(), end + 1


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_module_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MODULE_LINES_MAX


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_functions_are_short(path: Path) -> None:
    assert [(found, lines) for found, lines in functions(path) if lines > FUNCTION_LINES_MAX] == []


def test_no_dead_module() -> None:
    """Every module is a program, or imported by name, or named in a string for a late import, by another."""
    text = {path: path.read_text() for path in PRODUCT}
    dead = []
    for path in PRODUCT:
        if path.stem in {"__init__", "__main__"} or 'if __name__ == "__main__":' in text[path]:
            continue
        used = re.compile(rf"^\s*(from|import)\b.*\b{path.stem}\b|^\s+{path.stem},|[\".]{path.stem}[\":]", re.MULTILINE)
        if not any(used.search(other) for place, other in text.items() if place != path):
            dead.append(name(path))
    assert dead == []


def test_tests_never_sleep() -> None:
    sleeping = [
        name(path)
        for path in SOURCES
        if path.name != "test_tidy.py"
        and "tests" in path.parts
        and re.search(r"\b(time|asyncio)\.sleep\(", path.read_text())
    ]
    assert sleeping == []


def test_no_machine_is_named() -> None:
    pattern = r"(^|[^A-Za-z0-9_.])/(home|root)/[a-z]"
    found = subprocess.run(
        ["git", "grep", "-nIE", pattern, "--", ".", ":!tests/test_tidy.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode > 1:
        pytest.skip(f"not a git checkout: {found.stderr.strip()}")
    assert found.stdout == ""
