"""`tieline completion bash|zsh|fish`: prints a script that completes commands, options, names and files.

  bash: tieline completion bash > ~/.local/share/bash-completion/completions/tieline
  zsh:  tieline completion zsh > ~/.zfunc/_tieline      (with ~/.zfunc in fpath)
  fish: tieline completion fish > ~/.config/fish/completions/tieline.fish

Names of pools, providers and routes are those of the installation that `tieline status` looked at last.
Nothing is asked over the network while you type.
"""

import argparse
import re
from collections.abc import Iterator
from typing import Any

from controller.cli.grammar import CONTEXTS, FILES, TEXT, Grammar, Option, Value, grammar

SHELLS = ("bash", "zsh", "fish")
NAMES_FILE = '"${XDG_CACHE_HOME:-$HOME/.cache}/tieline/names"'
_FISH_CACHE = "(set -q XDG_CACHE_HOME; and echo $XDG_CACHE_HOME; or echo ~/.cache)"
_FISH_NAMES = f"(cat {_FISH_CACHE}/tieline/names 2>/dev/null)"
_CONTEXTS = "tieline context list --names 2>/dev/null"

# The walk over the words before the cursor is the same in bash and zsh: it finds the command, the number of
# arguments that it has already, and the option whose value is being typed.
WALK = """\
    local command='' option='' argument=1 index word
    for ((index = {first}; index < {cursor}; index++)); do
        word=${{{words}[index]}}
        if [[ -n $option ]]; then option=''
        elif [[ $word == -* ]]; then [[ -n $(_tieline_value "$command $word") ]] && option=$word
        elif [[ " $(_tieline_commands "$command") " == *" $word "* ]]; then
            command="${{command:+$command }}$word"
        else ((argument++))
        fi
    done
    local values
    if [[ -n $option ]]; then values=$(_tieline_value "$command $option")
    elif [[ ${{{words}[{cursor}]}} == -* ]]; then values="words $(_tieline_options "$command")"
    else values="words $(_tieline_commands "$command")"
        [[ $values == 'words ' ]] && values=$(_tieline_value "$command $argument")
    fi
"""
BASH = """\
_tieline() {{
    local current=${{COMP_WORDS[COMP_CWORD]}}
{walk}
    case ${{values%% *}} in
        files) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$current")) ;;
        names) COMPREPLY=($(compgen -W "$(cat {names} 2>/dev/null)" -- "$current")) ;;
        contexts) COMPREPLY=($(compgen -W "$({contexts})" -- "$current")) ;;
        words) COMPREPLY=($(compgen -W "${{values#words}}" -- "$current")) ;;
        *) COMPREPLY=() ;;
    esac
}}
complete -F _tieline tieline
"""
ZSH = """\
_tieline() {{
{walk}
    case ${{values%% *}} in
        files) _files ;;
        names) compadd -- ${{(f)"$(cat {names} 2>/dev/null)"}} ;;
        contexts) compadd -- ${{(f)"$({contexts})"}} ;;
        words) compadd -- ${{(z)values#words}} ;;
    esac
}}
if [[ $funcstack[1] == _tieline ]]; then _tieline "$@"; else compdef _tieline tieline; fi
"""


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "completion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")


def run(args: argparse.Namespace) -> int:
    """Returns 0."""
    print(script(grammar(), args.shell), end="")
    return 0


def script(whole: Grammar, shell: str) -> str:
    """The completion script of one shell."""
    if shell == "fish":
        return (
            "\n".join(["# Completion of tieline, made by `tieline completion fish`.", *_fish(whole)]) + "\n"
        )
    if shell == "zsh":
        walk = WALK.format(first=2, cursor="CURRENT", words="words")
        body = ZSH.format(walk=walk, names=NAMES_FILE, contexts=_CONTEXTS)
        return f"#compdef tieline\n# Made by `tieline completion zsh`.\n{_tables(whole)}{body}"
    walk = WALK.format(first=1, cursor="COMP_CWORD", words="COMP_WORDS")
    body = BASH.format(walk=walk, names=NAMES_FILE, contexts=_CONTEXTS)
    return f"# Completion of tieline, made by `tieline completion bash`.\n{_tables(whole)}{body}"


def _tables(whole: Grammar) -> str:
    """Three functions of the shell: the commands within a command, its options, and what a value may be.

    A value is asked for by the command with an option, or with the number of the argument.
    """
    commands, options, values = [], [], []
    for command in whole.all():
        path = " ".join(command.path)
        if command.children:
            commands.append((path, " ".join(child.path[-1] for child in command.children)))
        options.append((path, " ".join(option.flags[-1] for option in command.options)))
        for option in command.options:
            if option.value is not None:
                values += [(f"{path} {flag}", _reply(option.value)) for flag in option.flags]
        for number, argument in enumerate(command.positionals, start=1):
            values.append((f"{path} {number}", _reply(argument.value)))
    return "".join(
        _function(name, rows)
        for name, rows in (
            ("_tieline_commands", commands),
            ("_tieline_options", options),
            ("_tieline_value", values),
        )
    )


def _function(name: str, rows: list[tuple[str, str]]) -> str:
    cases = "\n".join(f"        {_quoted(key)}) echo {_quoted(reply)} ;;" for key, reply in rows)
    return f'{name}() {{\n    case "$1" in\n{cases}\n    esac\n}}\n'


def _reply(value: Value) -> str:
    return f"words {' '.join(value.words)}" if value.words else value.kind


def _fish(whole: Grammar) -> Iterator[str]:
    """One line for each command, option and argument, with what its help says of it."""
    yield "complete -c tieline -f"
    for command in whole.all():
        condition = _fish_condition(command)
        for child in command.children:
            summary = _quoted(_short(child.summary))
            yield f"complete -c tieline -n {condition} -a {child.path[-1]} -d {summary}"
        for option in command.options:
            yield f"complete -c tieline -n {condition} {_fish_option(option)}"
        for argument in command.positionals:
            if words := _fish_words(argument.value):
                yield f"complete -c tieline -n {condition} {words}"


def _fish_condition(command: Grammar) -> str:
    if not command.path:
        return "__fish_use_subcommand"
    parts = [f"__fish_seen_subcommand_from {word}" for word in command.path]
    if command.children:
        parts.append(f"not __fish_seen_subcommand_from {' '.join(c.path[-1] for c in command.children)}")
    return _quoted("; and ".join(parts))


def _fish_option(option: Option) -> str:
    names = " ".join(
        f"-l {flag.removeprefix('--')}" if flag.startswith("--") else f"-s {flag.removeprefix('-')}"
        for flag in option.flags
    )
    value = "" if option.value is None else f" -r {_fish_words(option.value)}".rstrip()
    return f"{names}{value} -d {_quoted(_short(option.help))}"


def _fish_words(value: Value) -> str:
    if value.words:
        return f"-a {_quoted(' '.join(value.words))}"
    if value.kind == FILES:
        return "-F"
    if value.kind == CONTEXTS:
        return f'-a "({_CONTEXTS})"'
    return "" if value.kind == TEXT else f'-a "{_FISH_NAMES}"'


def _short(text: str) -> str:
    """The beginning of a help text, without what would end a quotation."""
    return re.sub(r"['\"\\$`]", "", " ".join(text.split()))[:90]


def _quoted(text: str) -> str:
    """In single quotes, for every shell: nothing within has a quote."""
    return "'" + text.replace("'", "") + "'"
