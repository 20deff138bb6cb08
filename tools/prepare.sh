#!/bin/sh
# Makes .venv with heaptop in it (editable). Usage: tools/prepare.sh run|dev
# Missing system packages are installed where that needs no password (root on Debian), else named in one line.
set -eu
kind=$1
venv=.venv
python=${PYTHON:-python3}

missing=''
need() { missing="$missing $1"; }
command -v "$python" >/dev/null 2>&1 || need python3
if command -v "$python" >/dev/null 2>&1; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "heaptop: $("$python" --version 2>&1) is too old: heaptop needs Python 3.11 or newer; run make PYTHON=python3.11" >&2
        exit 1
    }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
    header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
    [ -e "$header" ] || need python3-dev
fi
command -v "${CC:-gcc}" >/dev/null 2>&1 || need gcc
command -v "${CC:-gcc}" >/dev/null 2>&1 && { echo '#include <stdlib.h>' | "${CC:-gcc}" -E - >/dev/null 2>&1 || need libc6-dev; }

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "heaptop: installing$missing" >&2
        { apt-get install -y --no-install-recommends $missing || { apt-get update && apt-get install -y --no-install-recommends $missing; }; } >"$venv.log" 2>&1 ||
            { tail -n 5 "$venv.log" >&2; echo "heaptop: could not install$missing; install them and run make again" >&2; exit 1; }
        rm -f "$venv.log"
    else
        echo "heaptop: missing$missing; run: sudo apt-get install$missing" >&2
        exit 1
    fi
fi

# What some tests build programs with: where it cannot be had they are skipped.
if [ "$kind" = dev ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    wanted=''
    command -v g++ >/dev/null 2>&1 || wanted="$wanted g++"
    [ "$(uname -m)" != x86_64 ] || echo 'int main(void) { return 0; }' | gcc -m32 -x c -o /dev/null - 2>/dev/null ||
        wanted="$wanted gcc-$(gcc -dumpversion | cut -d. -f1)-multilib"
    [ -z "$wanted" ] || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $wanted >/dev/null 2>&1 ||
        echo "heaptop: could not install$wanted: tests that need it are skipped" >&2
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
case $kind in run) extra='' ;; dev) extra='[dev]' ;; *) echo "usage: $0 run|dev" >&2; exit 2 ;; esac
PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install --quiet --constraint constraints.txt --editable ".$extra"

# Plain paths in place of setuptools' import hook, which makes every start of heaptop 9 ms dearer.
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
rm -f "$packages"/__editable__*heaptop*
printf '%s\n' "$PWD" "$PWD/emulator" >"$packages/heaptop.pth"
# As an install that is not editable has it: the first start is as quick as the next, also where Python may not write.
"$venv/bin/python" -m compileall -q heaptop emulator
touch "$venv/.ready-$kind"
