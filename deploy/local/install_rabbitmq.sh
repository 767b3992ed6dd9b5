#!/usr/bin/env bash
# Puts RabbitMQ 4.3 or newer, with its Erlang, into a folder of its own: Debian's unstable release by debootstrap, from
# the mirror that this machine's apt uses. Quick when the folder is there. Usage: install_rabbitmq.sh FOLDER
set -euo pipefail

readonly folder="$1" wanted='4\.([3-9]|[1-9][0-9])\.'

say() { printf 'install: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Prints where this machine gets Debian from; the answer is empty before the first `apt-get update`.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sed -n 1p
}

# debootstrap does not read apt's settings.
use_proxy_of_apt() {
    local proxy=
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    [[ -z $proxy ]] || export http_proxy="$proxy"
}

version() { basename "$1"/usr/lib/rabbitmq/lib/rabbitmq_server-* | sed 's/.*-//'; }

[[ ! -d $folder ]] || exit 0
[[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || fail "RabbitMQ 4.3 needs root and apt-get: it runs in a chroot."
[[ -n "$(mirror)" ]] || apt-get -o Acquire::Retries=3 -qq update
[[ -n "$(mirror)" ]] || fail "expected a mirror of Debian among the sources of apt."

say "installing RabbitMQ 4.3 in $folder (about 30 s)"
use_proxy_of_apt
rm -rf "$folder.new"
mkdir -p "$folder.new"
debootstrap --variant=minbase --include=rabbitmq-server sid "$folder.new" "$(mirror)" >"$folder.log" 2>&1 ||
    fail "debootstrap failed; $folder.log ends: $(tail -n 3 "$folder.log")"
[[ "$(version "$folder.new")" =~ ^$wanted ]] || fail "expected RabbitMQ 4.3 or newer, got $(version "$folder.new")."
echo "127.0.0.1 localhost" >"$folder.new/etc/hosts"
rm -rf "$folder.new"/var/cache/apt/archives/*.deb
mv "$folder.new" "$folder"
say "installed RabbitMQ $(version "$folder")"
