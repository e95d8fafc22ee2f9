#!/bin/sh
# Makes .venv where there is none and installs a requirements file into it: ./setup.sh requirements.txt
# The Makefile calls it when that file has changed.
set -eu

fail() {
    echo "$1" >&2
    exit 1
}

find_python() {
    for python in python3.11 python3.12 python3.13 python3; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    fail "Python 3.11 or newer is needed and none was found: install it (Debian, Ubuntu: apt install python3 python3-venv), then try again."
}

mkdir -p .venv 2>/dev/null && [ -w .venv ] || fail "This directory cannot be written to: $PWD. Copy the project to one of your own, then try again."

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "The venv module of $python is missing: install it (Debian, Ubuntu: apt install python3-venv), then try again."
    echo "Making .venv with $("$python" --version) …"
    "$python" -m venv --clear .venv
fi

log=.venv/install.log
printf 'Installing what %s lists; the first time, with PyTorch, takes some minutes ' "$1"
while sleep 1 && kill -0 $$ 2>/dev/null; do printf .; done &
dots=$!
trap 'kill $dots' EXIT
trap 'exit 130' INT TERM HUP
.venv/bin/python -m pip install --disable-pip-version-check --progress-bar off -r "$1" >$log 2>&1 || {
    echo
    tail -n 40 $log >&2
    fail "pip could not install $1: what it said stands above, and in $log."
}
echo " done."
