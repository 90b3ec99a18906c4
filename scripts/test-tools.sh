#!/bin/sh
# Check for the programs that the tests need besides Python packages. As root on Debian, install missing ones. Elsewhere
# list them and exit with status 2. Then install the npm packages of the tests, and the Dart VM for client/dart.
set -eu
PATH=$PATH:/usr/sbin:/sbin

has() { command -v "$1" >/dev/null 2>&1; }
# On these machines a Python package contains PostgreSQL.
has_postgresql() {
    case $(uname -m) in x86_64 | aarch64 | arm64) return 0 ;; esac
    [ -n "${TEST_POSTGRESQL_URL:-}" ] || ls -d /usr/lib/postgresql/1[6-9] >/dev/null 2>&1
}
node_is_new() { has node && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ]; }
# The tests of the dashboard use the first of these that is installed.
has_chromium() { [ -n "${TEST_CHROMIUM:-}" ] || has chromium || has chromium-browser || has google-chrome; }
missing() {
    sh scripts/python.sh >/dev/null 2>&1 || echo python3-venv
    node_is_new || echo nodejs
    has npm || echo npm
    has pgbouncer || echo pgbouncer
    has caddy || echo caddy
    has_chromium || echo chromium
    has faketime || echo faketime
    has_postgresql || echo postgresql
}
by_apt() { [ "$(id -u)" = 0 ] && has apt-get; }

install_by_apt() {
    echo "Installing $1 with apt-get ..."
    log=$(mktemp)
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $1; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        echo "apt-get could not install $1; its last lines are above." >&2
        exit 2
    fi
    rm -f "$log"
}

name_them() {
    echo "The tests need these missing programs: $1 (nodejs 20 or newer)." >&2
    if has brew; then
        echo "Install them with: brew install $(echo "$1" | sed 's/python3-venv/python@3.13/; s/nodejs/node/; s/npm/node/; s/faketime/libfaketime/')" >&2
    else
        echo "Install them with: sudo apt-get install $1 (Debian 13; elsewhere the packages of the same names)" >&2
    fi
    exit 2
}

wanted=$(missing | tr '\n' ' ' | sed 's/ $//')
if [ -n "$wanted" ]; then
    if by_apt; then install_by_apt "$wanted"; else name_them "$wanted"; fi
    still=$(missing | tr '\n' ' ' | sed 's/ $//')
    [ -z "$still" ] || name_them "$still"
fi

modules=tests/e2e/node_modules
want=$(cksum <tests/e2e/package-lock.json)
if [ "$(cat "$modules/installed" 2>/dev/null)" != "$want" ]; then
    echo "Installing the npm packages axe-core, connectycube, quickblox, firebase-tools and web-push-testing (280 MB) into $modules ..."
    (cd tests/e2e && npm ci --ignore-scripts --omit=optional --no-audit --no-fund --silent)
    echo "$want" >"$modules/installed"
fi
sh scripts/dart.sh "$modules/.dart"
