# shellcheck shell=bash
# What the scripts share; to be sourced. Needs bash, root, apt-get, python3 (3.11 or newer) and pip.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$repository/.venv

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' plain=''
fi
readonly repository venv bold dim green red plain

fail() {
    printf '%s%s%s\n' "$red" "$*" "$plain" >&2
    exit 1
}

need_root() {
    [[ $EUID -eq 0 ]] || fail "$0 makes mounts, namespaces and networks: run it as root"
}

# Install those of the given packages that are missing.
install_packages() {
    local package missing=()
    for package; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    printf '%sInstalling %s%s\n' "$dim" "${missing[*]}" "$plain"
    (
        # Nothing of it is to start as a service: dockerd, which a test compares with, would change
        # the firewall.
        policy=/usr/sbin/policy-rc.d
        if [[ ! -e $policy ]]; then
            trap 'rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod 755 "$policy"
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq || fail "apt-get update failed: see above"
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
            fail "apt-get install ${missing[*]} failed: see above"
    )
}

# Make .venv with this package in it, with the given extras ("" or "[test]"), unless it is there.
install_lamina() {
    local extras=$1 stamp=$venv/.installed wanted
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Lamina needs Python 3.11 or newer; python3 here is $(python3 --version 2>&1)"
    wanted="$extras $(cksum <"$repository/pyproject.toml")"
    [[ -x $venv/bin/lamina && -f $stamp ]] && grep -qxF "$wanted" "$stamp" && return 0
    printf '%sInstalling Lamina in %s%s\n' "$dim" "$venv" "$plain"
    if [[ ! -x $venv/bin/python ]]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
        python3 -m venv "$venv" || fail "python3 -m venv failed: see above"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --editable "$repository$extras" || fail "pip install failed: see above"
    "$venv/bin/python" -m compileall -q "$repository/src" "$venv/lib" >/dev/null || true
    printf '%s\n' "$wanted" >>"$stamp"
}
