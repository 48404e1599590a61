#!/usr/bin/env bash
# The walk-through: two images that share layers, five containers that share an image.
# Everything happens in a data root of its own, which is removed at the end.
set -euo pipefail
# shellcheck source=scripts/setup.sh
source "$(dirname "$0")/setup.sh"

usage() {
    cat <<END
Usage:  scripts/tour.sh [--storage-driver NAME] [--keep]

      --storage-driver NAME   overlay2 or vfs (default: the best that works here)
      --keep                  Leave the containers, the images and the data root
END
}

keep=''
while (($#)); do
    case $1 in
    --storage-driver)
        (($# > 1)) || fail "flag needs an argument: --storage-driver"
        export LAMINA_DRIVER=$2
        shift 2
        ;;
    --storage-driver=*)
        export LAMINA_DRIVER=${1#*=}
        shift
        ;;
    --keep)
        keep=yes
        shift
        ;;
    -h | --help)
        usage
        exit
        ;;
    *)
        usage >&2
        fail "unknown flag: $1"
        ;;
    esac
done

need_root
install_packages runc conmon netavark iptables busybox-static bash-static
install_lamina ""
export PATH=$venv/bin:$PATH
readonly image=acme/my-final-image:1.0 base=acme/my-base-image:1.0
readonly sizes='table {{.ID}}\t{{.Image}}\t{{.Names}}\t{{.Size}}'

work=$(mktemp -d "${TMPDIR:-/var/tmp}/lamina-tour.XXXXXXXX")
export LAMINA_ROOT=$work/root
clean_up() {
    local status=$? left
    set +e
    [[ -n $keep && $status -eq 0 ]] && exit
    cd /
    mapfile -t left < <(lamina ps -aq 2>/dev/null)
    ((${#left[@]})) && lamina rm -f "${left[@]}" >/dev/null 2>&1
    findmnt -rno TARGET | grep -F "$work/" | tac | xargs -r umount -l
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT

say() {
    printf '\n%s# %s%s\n' "$dim" "$*" "$plain"
}

# Print a command as one would type it, then run it.
run() {
    printf '%s$ %s%s%s\n' "$green" "$plain$bold" "$(typed "$@")" "$plain"
    "$@"
}

typed() {
    local word line=''
    for word; do
        [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]] || word="\"${word//\"/\\\"}\""
        line+="$word "
    done
    printf '%s' "${line% }"
}

# The same for what only a shell can run.
run_line() {
    printf '%s$ %s%s%s\n' "$green" "$plain$bold" "$1" "$plain"
    eval "$1"
}

started=$SECONDS
say "A base image. This tour asks nothing of a network, so Debian's busybox-static stands in for" \
    $'alpine:\n# a root filesystem of one program and its names, imported from a tar.'
rootfs=$work/rootfs
mkdir -p "$rootfs"/{bin,dev,etc,proc,root,sys,tmp,usr/bin,var}
cp /bin/busybox "$rootfs/bin/busybox"
busybox --list | while read -r name; do
    [[ $name == busybox ]] || ln -s /bin/busybox "$rootfs/bin/$name"
done
ln -s /bin/busybox "$rootfs/usr/bin/env"
echo 'root:x:0:0:root:/root:/bin/sh' >"$rootfs/etc/passwd"
echo 'root:x:0:' >"$rootfs/etc/group"
tar -C "$rootfs" --owner=0 --group=0 -cf "$work/busybox.tar" .
cd "$work"
run lamina import busybox.tar alpine

say $'Two images, the second on top of the first. Where the document has\n#' \
    "'RUN apk add --no-cache bash', the Dockerfile copies Debian's bash-static."
cp -r "$repository/examples/cow-test" "$work/cow-test"
run cd cow-test
run install -m 755 /bin/bash-static bash
run cat Dockerfile.base
run lamina build -t "$base" -f Dockerfile.base .
run rm bash
run cat Dockerfile
run lamina build -t "$image" -f Dockerfile .

say "The sizes are sums of layers; the layers of the first are stored once."
run lamina image ls
run lamina image history "$base"
run lamina image history "$image"
run lamina image inspect --format '{{json .RootFS.Layers}}' "$base"
run lamina image inspect --format '{{json .RootFS.Layers}}' "$image"
driver=$(lamina info --format '{{.Driver}}')
folder=$driver
[[ $driver == vfs ]] && folder=vfs/dir
run_line "ls \$LAMINA_ROOT/$folder"

say "Five containers of one image: each gets a thin writable layer, and nothing is in it."
for number in 1 2 3 4 5; do
    run lamina run -dit --name "my_container_$number" "$image" bash
done
run lamina ps --size --format "$sizes"
run_line 'du -sh $LAMINA_ROOT/containers/*'

say "Three of them write five bytes, each into its own layer."
run_line "for i in 1 2 3; do lamina exec my_container_\$i sh -c 'printf hello > /out.txt'; done"
run lamina ps --size --format "$sizes"
run lamina exec my_container_1 cat /out.txt
echo
picture=$("$venv/bin/python" "$repository/scripts/layer_stack.py" "$LAMINA_ROOT" \
    ${bold:+--colour} --storage-driver "$driver")

if [[ -n $keep ]]; then
    say "Left as it is. To look around, and to remove it:"
    printf 'export PATH=%s:$PATH LAMINA_ROOT=%s\n' "$venv/bin" "$LAMINA_ROOT"
    printf 'lamina rm -f $(lamina ps -aq); rm -r %s\n' "$work"
else
    say "Their writable layers go with them; the image stays until it is removed too."
    run lamina rm -f my_container_1 my_container_2 my_container_3 my_container_4 my_container_5
    run lamina image rm "$image" "$base" alpine
    run lamina builder prune --all --force
    run lamina image ls
    run_line "ls \$LAMINA_ROOT/$folder"
fi

say "What it was, on $driver, in $((SECONDS - started)) seconds:"
printf '\n%s\n' "$picture"
