"""The grammar of the command line, and what it says to bad input."""

import pytest

from heaptop.cli.parser import parse
from heaptop.cli.verbs import VERBS, Verb
from heaptop.errors import UsageError
from heaptop.sources import SOURCES


def complaint(*arguments: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(list(arguments))
    return str(caught.value)


def test_without_a_verb_it_is_the_app() -> None:
    options = parse([])
    assert options.verb is None
    assert options.backend == "auto"
    assert options.root == "/"


@pytest.mark.parametrize(
    "arguments",
    [
        "-b replay:x --json --sort -size --filter a --readonly --no-color --root /r --interval 2s buffers",
        "buffers -b replay:x --json --sort -size --filter a --readonly --no-color --root /r --interval 2s",
        "--json -b replay:x --sort=-size buffers --filter=a --readonly --no-color --root /r --interval 2",
    ],
)
def test_common_options_stand_before_and_after_the_verb(arguments: str) -> None:
    options = parse(arguments.split())
    assert (options.verb, options.backend, options.root) == ("buffers", "replay:x", "/r")
    assert (options.json, options.readonly, options.no_color, options.csv) == (True, True, True, False)
    assert (options.sort, options.filter, options.interval) == ("-size", "a", 2.0)


def test_an_option_after_the_verb_wins() -> None:
    assert parse(["-b", "kernel", "heaps", "-b", "replay:x"]).backend == "replay:x"


@pytest.mark.parametrize("key", ["-heap", "-holder", "-hidden", "-buffers", "-size"])
def test_a_reversed_sort_key_is_no_option(key: str) -> None:
    verb = "heaps" if key == "-buffers" else "buffers"
    assert parse([verb, "--sort", key]).sort == key


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["bufers"], "no verb 'bufers'; did you mean buffers?"),
        (["frobnicate"], "no verb 'frobnicate'; choose from alloc, bench, buffers"),
        (["completion", "csh"], "no shell 'csh'"),
        (["buffers", "--frob"], "unrecognized arguments: --frob"),
        (["buffers", "--js"], "unrecognized arguments: --js"),
        (["buffers", "x\x1b[31m"], r"unrecognized arguments: x\x1b[31m"),
        (["buffers", "--filter"], "--filter: expected one argument"),
        (["capture"], "the following arguments are required: PATH"),
        (["buffers", "--json", "--csv"], "--json and --csv: one document has one format"),
        (["buffers", "--sort", "siez"], "cannot sort by 'siez'"),
        (["cma", "--sort", "inode"], "cannot sort by 'inode'"),
        (["cma", "--filter", "x"], "unrecognized arguments: --filter x"),
        (["--filter", "x", "cma"], "--filter says nothing to cma"),
        (["--json"], "--json says nothing to the app"),
        (["--source", "fd", "doctor"], "--source says nothing to doctor"),
        (["buffers", "--source", "bufinf"], "--source: no source 'bufinf'; choose from fd, fdinfo, maps"),
        (["buffers", "--source", "-fd,fd"], "nothing is left to look at"),
        (["--interval", "1", "doctor"], "--interval says nothing to doctor"),
    ],
)
def test_bad_command_lines(arguments: list[str], expected: str) -> None:
    assert expected in complaint(*arguments)


@pytest.mark.parametrize(
    ("arguments", "off"),
    [
        (["buffers"], set()),
        (["buffers", "--source", "-bpf"], {"bpf"}),
        (["buffers", "--source=-bpf,-maps", "--source", "-vmstat"], {"bpf", "maps", "vmstat"}),
        (["--source", "-bpf", "cma"], {"bpf"}),
        (["--source", "-bpf"], {"bpf"}),
        (["heaps", "--source", "fdinfo,tasks"], SOURCES.keys() - {"fdinfo", "tasks"}),
    ],
)
def test_source(arguments: list[str], off: set[str]) -> None:
    assert parse(arguments).off == off


@pytest.mark.parametrize("text", ["0", "-1", "-1s", "nan", "inf", "", "99ms", "0.01", "1x", "25h", "9" * 400])
def test_bad_intervals(text: str) -> None:
    assert complaint("buffers", "--interval", text).startswith("--interval")


def test_intervals() -> None:
    assert parse(["heaps", "--interval", "100ms"]).interval == 0.1
    assert parse(["heaps", "--interval", "2m"]).interval == 120.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", "a buffer has at least 1 byte"),
        ("0.1", "a buffer has at least 1 byte"),
        ("-5", "a size cannot be negative"),
        ("-4K", "a size cannot be negative"),
        ("12Q", "'12Q' is not a size"),
        ("", "is not a size"),
        ("17E", "more than a heap can be asked for"),
        ("9" * 400 + ".5", "SIZE"),
        ("9" * 5000, "SIZE"),
    ],
)
def test_bad_sizes(text: str, expected: str) -> None:
    assert expected in complaint("alloc", "system", text)


def test_alloc() -> None:
    words = "alloc system 1.5M --count 3 --pattern ff --hold 2s --force --name"
    options = parse([*words.split(), "cam\udcff"])
    assert (options.heap, options.size, options.count, options.name) == ("system", 1_572_864, 3, b"cam\xff")
    assert (options.pattern, options.hold, options.force) == ("ff", 2.0, True)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "1000001", "10000000000", "٣"])
def test_bad_counts(text: str) -> None:
    assert "not a whole number from 1 to 1000000" in complaint("alloc", "system", "4K", "--count", text)


@pytest.mark.parametrize("text", ["-1", "forever", "366d", "9" * 400])
def test_bad_holds(text: str) -> None:
    assert complaint("alloc", "system", "4K", "--hold", text).startswith("--hold")


def test_a_name_has_a_limit_in_bytes() -> None:
    assert parse(["alloc", "system", "4K", "--name", "é" * 15]).name == "é".encode() * 15
    assert "32 bytes" in complaint("alloc", "system", "4K", "--name", "é" * 16)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_can_be_run_and_is_in_the_manual(verb: Verb) -> None:
    module = verb.load()
    assert callable(module.run)
    assert module.MANUAL[verb.name]
    assert ("sort" in verb.common) == bool(verb.sort_keys())


def test_no_verb_stands_twice() -> None:
    assert len({verb.name for verb in VERBS}) == len(VERBS)


@pytest.mark.parametrize("arguments", [["--help"], *([verb.name, "--help"] for verb in VERBS), ["--version"]])
def test_help_and_version_end_well(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert not caught.value.code
    assert "heaptop" in capsys.readouterr().out
