"""`heaptop completion`: completion scripts for bash, zsh and fish, made from the parser's own verbs and options."""

import argparse
from collections.abc import Iterable
from typing import Final, NamedTuple

from heaptop.backend.select import scenarios
from heaptop.cli.alloc import PATTERNS
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import emit
from heaptop.cli.parser import build, subparsers
from heaptop.cli.verbs import VERBS, verb_named
from heaptop.errors import Exit
from heaptop.sources import SOURCES as KERNEL_SOURCES

MANUAL: Final = {"completion": "For bash: source <(heaptop completion bash)."}

SHELLS: Final = ("bash", "zsh", "fish")

FILES: Final = frozenset({"PATH", "FILE"})
"""What values and operands are called that are files; DIR, SOURCE, HEAP, KEY and CMD are what they say."""

_WORDS: Final = {"P": PATTERNS, "NAME,…": (*KERNEL_SOURCES, *(f"-{name}" for name in KERNEL_SOURCES))}
"""The words that a value can be, among others, by what it is called."""


class Options(CommonOptions):
    """What was asked for."""

    shell: str = ""


class Flag(NamedTuple):
    """One option: its spellings, its help, its value's name (empty: it takes none), and the words that it can be."""

    spellings: tuple[str, ...]
    help: str
    value: str
    words: tuple[str, ...] = ()


class Operand(NamedTuple):
    """One operand: its name in the help, and the words that it can be (empty: anything)."""

    value: str
    words: tuple[str, ...]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")


def run(options: Options) -> int:
    """Print the script of `options.shell`."""
    emit(script(options.shell))
    return Exit.OK


def script(shell: str) -> str:
    """The completion script of one shell."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def flags_of(verb: str | None) -> tuple[Flag, ...]:
    """The options of a verb, or of heaptop itself."""
    found = []
    for action in _actions(verb):
        if action.option_strings:
            value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
            words = tuple(map(str, action.choices or ())) or _WORDS.get(value, ())
            found.append(Flag(tuple(action.option_strings), action.help or "", value, words))
    return tuple(found)


def operands_of(verb: str) -> tuple[Operand, ...]:
    """The operands of a verb."""
    return tuple(
        Operand(str(action.metavar or action.dest.upper()), tuple(map(str, action.choices or ())))
        for action in _actions(verb)
        if not action.option_strings
    )


def _actions(verb: str | None) -> list[argparse.Action]:
    parser = build(verb or "")
    if verb is not None:
        parser = subparsers(parser)[verb]
    return parser._actions  # noqa: SLF001  argparse has no public list of its options


def _words(flags: Iterable[Flag]) -> str:
    return " ".join(spelling for flag in flags for spelling in flag.spellings)


def _keys(verb: str | None) -> tuple[str, ...]:
    keys = tuple(verb_named(verb or "buffers").sort_keys())
    return (*keys, *(f"-{key}" for key in keys))


def _sources() -> tuple[str, ...]:
    emulated = [f"{kind}:{name}" for kind in ("emulator", "simulation") for name in scenarios()]
    return ("auto", "kernel", "emulator", *emulated, "adb", "ssh:", "replay:")


FISH_HEAPS = "(ls /dev/dma_heap 2>/dev/null; or echo system)"
HEAPS = "$(command ls /dev/dma_heap 2>/dev/null || echo system)"


def _bash() -> str:
    verbs = [verb.name for verb in VERBS]
    flags = {name: flags_of(name) for name in verbs}
    every = {flag.spellings[-1]: flag for name in verbs for flag in (*flags_of(None), *flags[name]) if flag.value}
    return _BASH.format(
        verbs=" ".join(verbs),
        options=_words(flags_of(None)),
        with_value="|".join(sorted({spelling for flag in every.values() for spelling in flag.spellings})),
        cases="\n".join(f"        {name}) words='{_words(flags[name])}' ;;" for name in verbs),
        values="\n".join(line for name in verbs for flag in flags[name] for line in _bash_value(name, flag)),
        sources=" ".join(_sources()),
        operands="\n".join(line for name in verbs for line in _bash_operands(name)),
        verb_case="|".join(verbs),
    )


def _bash_value(verb: str, flag: Flag) -> Iterable[str]:
    """The case of one option with a value. Those of the source are in the script."""
    if not flag.value or flag.value in {"SOURCE", "DIR"}:
        return
    asked = _bash_words(flag.value, _keys(verb) if flag.value == "KEY" else flag.words)
    yield f"        {verb}:{flag.spellings[-1]}) {asked}return ;;"


def _bash_words(value: str, words: tuple[str, ...]) -> str:
    """What completes one word, empty where nothing does."""
    if value in FILES:
        how = "-f"
    elif value == "HEAP":
        how = f'-W "{HEAPS}"'
    elif value.startswith("CMD"):
        how = "-c"
    elif words:
        how = f"-W '{' '.join(words)}'"
    else:
        return ""
    return f'mapfile -t COMPREPLY < <(compgen {how} -- "$cur"); '


def _bash_operands(verb: str) -> Iterable[str]:
    for index, operand in enumerate(operands_of(verb)):
        asked = _bash_words(operand.value, operand.words)
        if asked:
            yield f"            {verb}:{index}) {asked}return ;;"


_BASH = """\
# bash completion for heaptop; load it with: source <(heaptop completion bash)
_heaptop() {{
    local cur prev verb='' words='' i n=0 skip=0
    local -a line=()
    # readline breaks words at a colon and may so have made three words of emulator:steady
    for ((i = 0; i <= COMP_CWORD; i++)); do
        if ((i)) && [[ ${{COMP_WORDS[i]}} == : || ${{COMP_WORDS[i - 1]}} == : ]]; then
            line[-1]+=${{COMP_WORDS[i]}}
        else
            line+=("${{COMP_WORDS[i]}}")
        fi
    done
    cur=${{line[-1]}} prev=${{line[-2]}}
    if [[ $prev == '=' && ${{#line[@]}} -gt 2 ]]; then prev=${{line[-3]}}; fi
    for ((i = 1; i < ${{#line[@]}} - 1; i++)); do
        if ((skip)); then skip=0; continue; fi
        case ${{line[i]}} in
            {with_value}) skip=1 ;;
            {verb_case}) if [[ -z $verb ]]; then verb=${{line[i]}}; else n=$((n + 1)); fi ;;
            -*) ;;
            *) if [[ -n $verb ]]; then n=$((n + 1)); fi ;;
        esac
    done
    case $prev in
        -b|--backend)
            if [[ $cur == replay:* ]]; then
                compopt -o nospace 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -P replay: -f -- "${{cur#replay:}}")
            else
                mapfile -t COMPREPLY < <(compgen -W '{sources}' -- "$cur")
            fi
            if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then  # what stands before the colon is typed already
                i=${{cur%"${{cur##*:}}"}}
                COMPREPLY=("${{COMPREPLY[@]#"$i"}}")
            fi
            return ;;
        --root) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
    esac
    case $verb:$prev in
{values}
    esac
    if [[ $cur != -* ]]; then
        case $verb:$n in
            :0) mapfile -t COMPREPLY < <(compgen -W '{verbs}' -- "$cur"); return ;;
{operands}
        esac
    fi
    case $verb in
        '') words='{options}' ;;
{cases}
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}}
complete -F _heaptop heaptop
"""


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''")


def _zsh_flag(flag: Flag, verb: str | None) -> str:
    text = _quoted(flag.help.replace("[", "\\[").replace("]", "\\]").replace(":", "\\:"))
    value = f":{flag.value}:{_zsh_values(flag, verb)}" if flag.value else ""
    if len(flag.spellings) == 1:
        return f"'{flag.spellings[0]}[{text}]{value}'"
    return f"'({' '.join(flag.spellings)})'{{{','.join(flag.spellings)}}}'[{text}]{value}'"


def _zsh_values(flag: Flag, verb: str | None) -> str:
    if flag.value == "KEY":
        return f"({' '.join(_keys(verb))})"
    return _zsh_action(flag.value, flag.words)


def _zsh_action(value: str, words: tuple[str, ...]) -> str:
    if value in FILES:
        return "_files"
    if words:
        return f"({' '.join(words)})"
    named = {"SOURCE": "_heaptop_source", "DIR": "_files -/", "HEAP": "_heaptop_heap"}
    return "_command_names -e" if value.startswith("CMD") else named.get(value, " ")


def _zsh() -> str:
    verbs = "\n".join(f"        '{verb.name}:{_quoted(verb.help)}'" for verb in VERBS)
    cases = []
    for verb in VERBS:
        specs = [_zsh_flag(flag, verb.name) for flag in flags_of(verb.name)]
        specs += [
            f"'{number}:{operand.value}:{_zsh_action(operand.value, operand.words)}'"
            for number, operand in enumerate(operands_of(verb.name), 1)
        ]
        cases.append(
            f"            {verb.name})\n                _arguments \\\n                "
            + " \\\n                ".join(specs)
            + " ;;"
        )
    options = " \\\n        ".join(_zsh_flag(flag, None) for flag in flags_of(None))
    return _ZSH.format(verbs=verbs, options=options, cases="\n".join(cases), sources=" ".join(_sources()[:-1]))


_ZSH = """\
#compdef heaptop
# zsh completion for heaptop; put this file as _heaptop into a folder of $fpath
_heaptop_source() {{
    if compset -P 'replay:'; then
        _files
    else
        local -a sources=({sources})
        compadd -a sources
        compadd -S '' 'replay:'
    fi
}}

_heaptop_heap() {{
    local -a heaps=(/dev/dma_heap/*(N:t))
    (( $#heaps )) || heaps=(system)
    compadd -a heaps
}}

_heaptop() {{
    local curcontext=$curcontext state line
    local -a verbs=(
{verbs}
    )
    _arguments -C -A '-*' \\
        {options} \\
        '1:verb:->verb' '*::argument:->argument'
    case $state in
        verb) _describe verb verbs ;;
        argument)
            case $line[1] in
{cases}
            esac ;;
    esac
}}

if [[ $funcstack[1] == _heaptop ]]; then
    _heaptop "$@"
else
    compdef _heaptop heaptop
fi
"""


def _fish() -> str:
    names = " ".join(verb.name for verb in VERBS)
    lines = [
        "# fish completion for heaptop; load it with: heaptop completion fish | source",
        "complete -c heaptop -f",
        f"set -l verbs {names}",
    ]
    alone = '"not __fish_seen_subcommand_from $verbs"'
    lines += [f"complete -c heaptop -n {alone} -a {verb.name} -d '{_fish_quoted(verb.help)}'" for verb in VERBS]
    lines += [_fish_flag(flag, alone, None) for flag in flags_of(None)]
    for verb in VERBS:
        seen = f'"__fish_seen_subcommand_from {verb.name}"'
        lines += [_fish_flag(flag, seen, verb.name) for flag in flags_of(verb.name)]
        lines += [f"complete -c heaptop -n {seen}{_fish_operand(operand)}" for operand in operands_of(verb.name)]
    return "\n".join(lines) + "\n"


def _fish_operand(operand: Operand) -> str:
    if operand.value in FILES:
        return " -F"
    if operand.value == "HEAP":
        return f' -a "{FISH_HEAPS}"'
    return f' -a "{" ".join(operand.words)}"' if operand.words else ""


def _fish_quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _fish_flag(flag: Flag, condition: str, verb: str | None) -> str:
    spellings = " ".join(
        f"-l {spelling[2:]}" if spelling.startswith("--") else f"-s {spelling[1:]}" for spelling in flag.spellings
    )
    if flag.value == "SOURCE":
        values = f' -x -a "{" ".join(_sources())}"'
    elif flag.value == "DIR":
        values = ' -x -a "(__fish_complete_directories)"'
    elif flag.value in FILES:
        values = " -r -F"
    else:
        words = _keys(verb) if flag.value == "KEY" else flag.words
        values = f' -x -a "{" ".join(words)}"' if words else " -x" if flag.value else ""
    return f"complete -c heaptop -n {condition} {spellings}{values} -d '{_fish_quoted(flag.help)}'"
