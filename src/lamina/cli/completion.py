"""`lamina completion SHELL`: the script by which a shell completes `lamina` command lines."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.errors import InvalidInput

_BASH = """\
# bash completion of lamina: source <(lamina completion bash)
_lamina() {
    local line typed=${COMP_LINE:0:COMP_POINT} words
    read -ra words <<<"$typed"
    [[ $typed == *[[:space:]] ]] && words+=("")
    # Readline cuts words at the colons of a reference, and takes only what follows the last.
    local cut=''
    [[ ${words[-1]} == *:* ]] && cut=${words[-1]%:*}:
    COMPREPLY=()
    while IFS= read -r line; do
        line=${line%%$'\\t'*}
        COMPREPLY+=("${line#"$cut"}")
    done < <(lamina __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -o default -F _lamina lamina
"""

_ZSH = """\
#compdef lamina
# zsh completion of lamina: lamina completion zsh > "${fpath[1]}/_lamina"
_lamina() {
    local -a found
    local line
    while IFS= read -r line; do
        found+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}")
    done < <(lamina __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then
        _describe lamina found
    else
        _files
    fi
}
compdef _lamina lamina
"""

_FISH = """\
# fish completion of lamina: lamina completion fish > ~/.config/fish/completions/lamina.fish
function __lamina_complete
    set -l words (commandline -opc) (commandline -ct)
    lamina __complete -- $words[2..-1] 2>/dev/null
end
complete -c lamina -a '(__lamina_complete)'
"""

SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}


@docker_command("SHELL", "Generate the autocompletion script for the specified shell", exactly=1)
@click.argument("shell")
def command(shell: str) -> None:
    if shell not in SCRIPTS:
        raise InvalidInput(f"no completion for shell {shell!r}: choose {', '.join(SCRIPTS)}")
    print(SCRIPTS[shell], end="")
