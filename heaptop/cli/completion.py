"""`heaptop completion`: completion scripts for bash, zsh and fish, made from the parser's own verbs and options."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass

from heaptop.analysis.picture import FORMATS
from heaptop.cli.output import emit
from heaptop.cli.parser import PATTERNS, SHELLS, SORT_KEYS, SOURCES, VERBS, WITH_VALUE, Options, build
from heaptop.errors import Exit
from heaptop.sources import SOURCES as KERNEL_SOURCES


@dataclass(frozen=True, slots=True)
class Flag:
    """One option: its spellings, its help, and its value's name (empty: it takes none)."""

    spellings: tuple[str, ...]
    help: str
    value: str


def run(options: Options) -> int:
    """Print the script of `options.shell`."""
    emit(script(options.shell))
    return Exit.OK


def script(shell: str) -> str:
    """The completion script of one shell."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def flags_of(verb: str | None) -> tuple[Flag, ...]:
    """The options of a verb, or of heaptop itself."""
    parser = build()
    if verb is not None:
        parser = subparsers(parser)[verb]
    found = []
    for action in parser._actions:  # noqa: SLF001  argparse has no public list of its options
        if action.option_strings:
            value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
            found.append(Flag(tuple(action.option_strings), action.help or "", value))
    return tuple(found)


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser of each verb."""
    actions = parser._actions  # noqa: SLF001  argparse has no public list of its verbs
    (verbs,) = (action for action in actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    return dict(verbs.choices)


def _words(flags: Iterable[Flag]) -> str:
    return " ".join(spelling for flag in flags for spelling in flag.spellings)


def _keys(verb: str) -> str:
    keys = list(SORT_KEYS.get(verb, ()))
    return " ".join([*keys, *(f"-{key}" for key in keys)])


_NAMES = " ".join([*KERNEL_SOURCES, *(f"-{name}" for name in KERNEL_SOURCES)])
FISH_HEAPS = "(ls /dev/dma_heap 2>/dev/null; or echo system)"
HEAPS = "$(command ls /dev/dma_heap 2>/dev/null || echo system)"


def _bash() -> str:
    verbs = " ".join(verb.name for verb in VERBS)
    with_value = "|".join(("-b", *sorted(WITH_VALUE)))
    cases = "\n".join(f"        {verb.name}) words='{_words(flags_of(verb.name))}' ;;" for verb in VERBS)
    sorts = "\n".join(f"            {verb}) words='{_keys(verb)}' ;;" for verb in SORT_KEYS)
    return _BASH.format(
        verbs=verbs,
        options=_words(flags_of(None)),
        with_value=with_value,
        cases=cases,
        sorts=sorts,
        sources=" ".join(SOURCES),
        shells=" ".join(SHELLS),
        patterns=" ".join(PATTERNS),
        formats=" ".join(FORMATS),
        names=_NAMES,
        heaps=HEAPS,
        verb_case="|".join(verb.name for verb in VERBS),
    )


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
        --pattern) mapfile -t COMPREPLY < <(compgen -W '{patterns}' -- "$cur"); return ;;
        --format) mapfile -t COMPREPLY < <(compgen -W '{formats}' -- "$cur"); return ;;
        --source) mapfile -t COMPREPLY < <(compgen -W '{names}' -- "$cur"); return ;;
        --png) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        --sort)
            case $verb in
{sorts}
            esac
            mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
            return ;;
        --filter|--interval|--count|--name|--hold|--for|--offset|--length|--width|--height|--stride) return ;;
    esac
    if [[ $cur != -* ]]; then
        case $verb in
            '') mapfile -t COMPREPLY < <(compgen -W '{verbs}' -- "$cur"); return ;;
            capture) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            alloc) ((n == 0)) && mapfile -t COMPREPLY < <(compgen -W "{heaps}" -- "$cur"); return ;;
            completion) mapfile -t COMPREPLY < <(compgen -W '{shells}' -- "$cur"); return ;;
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
    match flag.spellings[-1]:
        case "--backend":
            return "_heaptop_source"
        case "--root":
            return "_files -/"
        case "--pattern":
            return f"({' '.join(PATTERNS)})"
        case "--format":
            return f"({' '.join(FORMATS)})"
        case "--source":
            return f"({_NAMES})"
        case "--png":
            return "_files"
        case "--sort":
            return f"({_keys(verb or 'buffers')})"
    return " "


def _zsh() -> str:
    verbs = "\n".join(f"        '{verb.name}:{_quoted(verb.help)}'" for verb in VERBS)
    cases = []
    for verb in VERBS:
        flags = " \\\n                ".join(_zsh_flag(flag, verb.name) for flag in flags_of(verb.name))
        operands = {
            "capture": " \\\n                '1:PATH:_files'",
            "alloc": " \\\n                '1:HEAP:_heaptop_heap' '2:SIZE: '",
            "content": " \\\n                '1:INODE: '",
            "completion": f" \\\n                '1:SHELL:({' '.join(SHELLS)})'",
        }.get(verb.name, "")
        cases.append(f"            {verb.name})\n                _arguments \\\n                {flags}{operands} ;;")
    options = " \\\n        ".join(_zsh_flag(flag, None) for flag in flags_of(None))
    return _ZSH.format(verbs=verbs, options=options, cases="\n".join(cases), sources=" ".join(SOURCES[:-1]))


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
    lines += [
        'complete -c heaptop -n "__fish_seen_subcommand_from capture" -F',
        f'complete -c heaptop -n "__fish_seen_subcommand_from alloc" -a "{FISH_HEAPS}"',
        f'complete -c heaptop -n "__fish_seen_subcommand_from completion" -a "{" ".join(SHELLS)}"',
    ]
    return "\n".join(lines) + "\n"


def _fish_quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _fish_flag(flag: Flag, condition: str, verb: str | None) -> str:
    spellings = " ".join(
        f"-l {spelling[2:]}" if spelling.startswith("--") else f"-s {spelling[1:]}" for spelling in flag.spellings
    )
    values = {
        "--backend": f' -x -a "{" ".join(SOURCES)}"',
        "--root": ' -x -a "(__fish_complete_directories)"',
        "--pattern": f' -x -a "{" ".join(PATTERNS)}"',
        "--format": f' -x -a "{" ".join(FORMATS)}"',
        "--source": f' -x -a "{_NAMES}"',
        "--png": " -r -F",
        "--sort": f' -x -a "{_keys(verb or "buffers")}"',
    }.get(flag.spellings[-1], " -x" if flag.value else "")
    return f"complete -c heaptop -n {condition} {spellings}{values} -d '{_fish_quoted(flag.help)}'"
