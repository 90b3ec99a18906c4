#!/bin/sh
# Update the two lock files from pyproject.toml: the newest releases, with the hash of every file, without URLs.
set -eu
uv() { .venv/bin/python -m uv --quiet "$@"; }

compile() {
    out=$1
    shift
    {
        echo "# Made by make lock from pyproject.toml."
        uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header "$@"
    } >"$out.new"
    if grep -nE '://|--(index|extra-index|find-links|trusted)' "$out.new" >&2; then
        echo "$out would contain the URLs of packages, so it was not changed" >&2
        rm "$out.new"
        exit 1
    fi
    mv "$out.new" "$out"
}

.venv/bin/python -m pip --disable-pip-version-check --quiet install uv
compile requirements.lock
compile requirements-dev.lock --group dev --constraint requirements.lock
echo "requirements.lock and requirements-dev.lock are updated: run make test before you commit them."
