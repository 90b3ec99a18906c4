#!/bin/sh
# Print the name of a Python that can run Ringbook: 3.11 or newer, with venv. $PYTHON, if set, is tried first.
set -u

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

found=
for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    new_enough "$name" || continue
    found=$name
    has_venv "$name" && echo "$name" && exit 0
done

if [ -n "$found" ]; then
    echo "$found has no venv module. On Debian or Ubuntu: apt install python3-venv" >&2
else
    echo "Ringbook needs Python 3.11 or newer. On Debian or Ubuntu: apt install python3 python3-venv;" \
        "on macOS: brew install python@3.13; elsewhere: your package manager, or the installer from python.org." >&2
fi
exit 2
