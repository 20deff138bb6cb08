#!/bin/bash
# build.sh SERIES [x86_64|arm64]: builds a small kernel from Debian's linux-source-SERIES (6.1, 6.12, 7.2 ...), with all that heaptop can
# look at, into the folder that tests/vm looks in. 6.12 takes a quarter of an hour on two processors.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
series=${1:?usage: $0 SERIES [x86_64|arm64], as 6.12}
machine=${2:-x86_64}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/heaptop
home=$cache/kernels/kernel-$series-$machine
log=$cache/build-$series-$machine.log
case $machine in
x86_64) image=bzImage built=arch/x86/boot/bzImage tools=() ;;
arm64) image=Image built=arch/arm64/boot/Image tools=(gcc-aarch64-linux-gnu) ; export ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- ;;
*) echo "vm-kernel: no machine $machine: x86_64 or arm64" >&2; exit 2 ;;
esac
mkdir -p "$cache"
work=$(mktemp -d "$cache/build-$series.XXXXXX")
trap 'rm -rf "$work"' EXIT
: >"$log"

say() { echo "vm-kernel: $*" >&2; }
logged() { "$@" >>"$log" 2>&1 || { tail -n 5 "$log" >&2; say "failed: $1 (all of it in $log)"; exit 1; }; }

install_tools() {
    local package missing=()
    for package in bc bison flex gcc libelf-dev libssl-dev make pahole rsync xz-utils "${tools[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    [ "$(id -u)" = 0 ] || { say "missing: run sudo apt-get install ${missing[*]}"; exit 1; }
    say "installing ${missing[*]}"
    apt-get update >>"$log" 2>&1 || true # what is known already may do
    logged apt-get install -y --no-install-recommends "${missing[@]}"
}

# From this machine's own suites, else from Debian's others, through an apt state of its own: nothing is installed from there.
download_source() {
    cd "$work"
    apt-get download "linux-source-$series" >>"$log" 2>&1 && return
    local state=$work/apt mirror suite
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    : >"$state/status"
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -m 1 '/debian/*$') || { say "no Debian mirror is known here"; exit 1; }
    for suite in bookworm bookworm-backports trixie trixie-backports forky sid; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$state/sources.list"
    local apt=(apt-get -o "Dir::State=$state" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache"
        -o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null)
    "${apt[@]}" update >>"$log" 2>&1 || true # a suite may be gone
    logged "${apt[@]}" download "linux-source-$series"
}

unpack_source() {
    mkdir "$work/package" "$work/source"
    dpkg-deb --extract "$work"/linux-source-*.deb "$work/package"
    tar -C "$work/source" --strip-components=1 -xJf "$work"/package/usr/src/linux-source-*.tar.xz
}

configure() {
    local fragments=("$here/guest.config")
    [ "$machine" = arm64 ] && fragments+=("$here/arm64.config")
    [ "$(printf '%s\n' 6.16 "$series" | sort -V | head -n 1)" = 6.16 ] && fragments+=("$here/btf.config")
    cd "$work/source"
    logged make O="$work/objects" tinyconfig
    logged scripts/kconfig/merge_config.sh -m -O "$work/objects" "$work/objects/.config" "${fragments[@]}"
    logged make O="$work/objects" olddefconfig
    local unknown
    unknown=$(grep -h '^CONFIG_' "${fragments[@]}" | grep -vxFf "$work/objects/.config" | tr '\n' ' ') || true
    [ -z "$unknown" ] || say "linux $series does not have: $unknown"
}

build() {
    export KBUILD_BUILD_USER=heaptop KBUILD_BUILD_HOST=vm
    cd "$work/source"
    logged make O="$work/objects" -j"$(nproc)" "$image"
    mkdir -p "$home"
    cp "$work/objects/.config" "$home/config"
    cp "$work/objects/$built" "$home/$image.new"
    mv "$home/$image.new" "$home/$image"
}

install_tools
say "fetching the source of linux $series"
download_source
unpack_source
configure
say "building it; the log is $log"
build
say "linux $series is in $home"
