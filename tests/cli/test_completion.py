"""The completion scripts complete what the parser takes; bash's is run, the others are checked where the shell is."""

import shutil
import subprocess
from pathlib import Path

import pytest

from heaptop.analysis.sort import HEAP_KEYS
from heaptop.backend.select import scenarios
from heaptop.cli.completion import SHELLS, flags_of, script
from heaptop.cli.verbs import VERBS
from tests.cli.conftest import Run

BASH = shutil.which("bash")


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_name_all_there_is(shell: str, run: Run) -> None:
    ran = run("completion", shell)
    assert ran.code == 0
    for verb in VERBS:
        assert verb.name in ran.out
        for flag in flags_of(verb.name):
            long = flag.spellings[-1]
            assert (f"-l {long[2:]}" if shell == "fish" else long) in ran.out


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_well_formed(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs {shell}")
    path = tmp_path / "script"
    path.write_text(script(shell))
    checked = subprocess.run([program, "-n", str(path)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([""], [verb.name for verb in VERBS]),
        (["bu"], ["buffers"]),
        (["-b", "em"], ["emulator", *(f"emulator:{name}" for name in scenarios())]),
        (["-b", "emulator", ":", "st"], ["steady", "storm"]),
        (["-b", "kernel", ""], [verb.name for verb in VERBS]),
        (["--json", "proc"], ["processes"]),
        (["heaps", "--sort", ""], [*HEAP_KEYS, *(f"-{key}" for key in HEAP_KEYS)]),
        (["heaps", "--sort", "=", "-s"], ["-size"]),
        (["doctor", "--c"], ["--csv"]),
        (["cma", "--f"], ["--fit"]),
        (["completion", "z"], ["zsh"]),
        (["alloc", "system", "4K", "--pattern", ""], ["zero", "ff", "count"]),
    ],
)
def test_bash_completes(words: list[str], expected: list[str]) -> None:
    assert BASH is not None
    ask = """
source <(printf '%s' "$1"); shift
COMP_WORDS=(heaptop "$@"); COMP_CWORD=$#; COMPREPLY=()
_heaptop
((${#COMPREPLY[@]})) && printf '%s\\n' "${COMPREPLY[@]}" || true
"""
    ran = subprocess.run(
        [BASH, "--norc", "-c", ask, "bash", script("bash"), *words], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == expected
    assert ran.stderr == ""
