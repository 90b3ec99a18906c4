#!/bin/sh
# Install exactly the packages of a lock file into .venv, and Ringbook itself from src/; for development also the client
# from client/. Does nothing if nothing has changed.
#   sh scripts/venv.sh requirements.lock
set -eu
lock=$1
stamp=.venv/installed-$lock
# The path is part of the stamp: programs in a venv contain their own path.
want="$(pwd) $(cksum <"$lock") $(cksum <pyproject.toml) $(cksum <client/pyproject.toml)"
ours=ringbook folders=.
[ "$lock" != requirements-dev.lock ] || { ours=ringbook,ringbook_client folders=". ./client"; }

ready() { [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && .venv/bin/python -c "import $ours" 2>/dev/null; }
pip=".venv/bin/python -m pip --disable-pip-version-check --quiet"

# Run a program in the background, so that Ctrl+C shows no traceback. It gets no SIGINT there, so the trap ends it.
run() {
    "$@" &
    child=$!
    wait "$child"
}

# `make demo` in a second terminal may start while `make serve` is still installing.
alone() {
    until ln -s $$ .venv.lock 2>/dev/null; do
        [ -w . ] || { echo "Cannot write to $(pwd), where .venv is to be created." >&2; exit 1; }
        holder=$(readlink .venv.lock) || continue
        kill -0 "$holder" 2>/dev/null || rm -f .venv.lock
        sleep 1
    done
    trap 'rm -f .venv.lock' EXIT
    trap 'kill $child 2>/dev/null || :; echo "Interrupted: the next make continues." >&2; exit 130' INT TERM
}

child=
ready && exit 0
alone
ready && exit 0
python=$(sh scripts/python.sh)
echo "Installing the packages of $lock into .venv (once; about a minute) ..."
if [ "$(cat .venv/place 2>/dev/null)" != "$(pwd)" ] || ! $pip --version >/dev/null 2>&1; then
    rm -rf .venv
    run "$python" -m venv .venv
    pwd >.venv/place
fi
run $pip install --require-hashes -r "$lock"
for folder in $folders; do run $pip install --no-deps -e "$folder"; done
echo "$want" >"$stamp"
