"""What a shell completes, as a script of its own: made from the parser, so that it lacks no option. Pure."""

import argparse
from collections.abc import Callable, Iterator, Mapping

Actions = Mapping[str, argparse.ArgumentParser]

_BASH = """# bash completion for {prog}: source <({prog} completion bash)
{function}() {{
    local words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{words}"
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F {function} {prog}
"""
_ZSH = """#compdef {prog}
# zsh completion for {prog}: source <({prog} completion zsh), or write it to {function} in a directory of $fpath
{function}() {{
    if (( CURRENT == 2 )); then
        local -a actions=(
{actions}
        )
        _describe action actions
        return
    fi
    local action="$words[2]"
    shift words
    (( CURRENT-- ))
    case "$action" in
{cases}
    esac
}}
if [ "$funcstack[1]" = {function} ]; then
    {function} "$@"
else
    compdef {function} {prog}
fi
"""


def script(prog: str, actions: Actions, shell: str) -> str:
    """Return the script for a shell, bash, zsh or fish; `prog` is the command's name, `actions` have parsers."""
    makers: Mapping[str, Callable[[str, Actions], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    return makers[shell](prog, actions)


def _bash(prog: str, actions: Actions) -> str:
    cases = (f'            {name}) words="{" ".join(_words(parser))}" ;;' for name, parser in actions.items())
    words = " ".join((*actions, "--help", "--version"))
    return _BASH.format(prog=prog, function=_function(prog), words=words, cases="\n".join(cases))


def _zsh(prog: str, actions: Actions) -> str:
    names = (f"            {_quoted(f'{name}:{_colons(parser.description)}')}" for name, parser in actions.items())
    cases = []
    for name, parser in actions.items():
        arguments = [f"{each}[{_brackets(option.help)}]" + _zsh_value(option) for each, option in _options(parser)]
        choices = " ".join(_choices(parser))
        arguments.append(f"*:word:({choices})" if choices else "*:name:")
        cases.append(f"        {name}) _arguments {' '.join(map(_quoted, arguments))} ;;")
    return _ZSH.format(prog=prog, function=_function(prog), actions="\n".join(names), cases="\n".join(cases))


def _fish(prog: str, actions: Actions) -> str:
    lines = [f"# fish completion for {prog}: {prog} completion fish | source", f"complete -c {prog} -f"]
    for name, parser in actions.items():
        about = _quoted(parser.description or "")
        lines.append(f"complete -c {prog} -n __fish_use_subcommand -a {name} -d {about}")
        seen = f"complete -c {prog} -n '__fish_seen_subcommand_from {name}'"
        for option, action in _options(parser):
            value = " -x" if _has_value(action) else ""
            lines.append(f"{seen} -l {option.removeprefix('--')}{value} -d {_quoted(action.help or '')}")
        lines += [f"{seen} -a {choice}" for choice in _choices(parser)]
    return "\n".join(lines) + "\n"


def _options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        yield from ((each, action) for each in action.option_strings if each.startswith("--"))


def _choices(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if not action.option_strings:
            yield from action.choices or ()


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from (each for each, _ in _options(parser))
    yield from _choices(parser)


def _has_value(action: argparse.Action) -> bool:
    return action.nargs != 0


def _zsh_value(action: argparse.Action) -> str:
    return f":{str(action.metavar or action.dest).lower()}:" if _has_value(action) else ""


def _function(prog: str) -> str:
    return "_" + prog.replace("-", "_")


def _quoted(text: str) -> str:
    """Return the text as one word; in fish the same quotes serve, as no text here holds one."""
    return "'" + text.replace("'", "’") + "'"


def _colons(text: str | None) -> str:
    # `_describe` takes the first colon for the end of the word.
    return (text or "").replace(":", "\\:")


def _brackets(text: str | None) -> str:
    return (text or "").replace("[", "(").replace("]", ")").replace(":", "\\:")
