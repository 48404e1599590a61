#!/usr/bin/env bash
# Everything that must hold: lint, formatting, types, the order of the rooms, all tests.
# Arguments go to pytest.
set -euo pipefail
# shellcheck source=scripts/setup.sh
source "$(dirname "$0")/setup.sh"

need_root
# What Lamina runs, then what only the tests do.
install_packages runc conmon netavark aardvark-dns iptables \
    attr bash-static busybox-static bzip2 crun docker.io e2fsprogs iproute2 iputils-ping mmdebstrap \
    podman skopeo umoci xfsprogs xz-utils zstd
install_lamina "[test]"
cd "$repository"
export PATH=$venv/bin:$PATH

check() {
    printf '%s$ %s%s\n' "$bold" "$*" "$plain"
    "$@" || fail "$* found something: see above"
}

check ruff check
check ruff format --check
check mypy
check lint-imports
printf '%s$ pytest %s%s\n' "$bold" "$*" "$plain"
exec pytest "$@"
