#!/usr/bin/env bash
# Installs all that radbus needs on one machine: programs by apt where one is root, Python packages in .venv, for Triton in
# .local/triton-venv, and for `make k8s-check` in .local/k8s-venv. Quick when there is nothing to do. Starts and stops nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly uv_version=0.13.8
readonly stamp=.local/install.stamp

say() { printf 'install: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Prints the Debian packages of the programs and libraries that are not there.
missing_packages() {
    local libraries
    libraries="$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p)"
    find_python >/dev/null || echo python3 python3-venv
    has_program make || echo make
    has_program dciodvfy || echo dicom3tools
    has_program dcmdump || echo dcmtk
    has_program pdftoppm || echo poppler-utils
    # For what docs/api.md says to a shell.
    has_program curl || echo curl
    has_program jq || echo jq
    has_program openssl || echo openssl
    # promtool, which tests the alerts; no server of it is started.
    has_program promtool || echo prometheus
    has_program nginx || [[ -x /usr/sbin/nginx ]] || echo nginx
    # For names in reports: most scripts, and Chinese, Japanese and Korean.
    [[ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ]] || echo fonts-dejavu-core
    [[ -e /usr/share/fonts/truetype/wqy/wqy-microhei.ttc ]] || echo fonts-wqy-microhei
    # For tests in which a clock jumps.
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || echo libfaketime
    if [[ -z ${RADBUS_AMQP_URL:-} ]]; then
        [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] || has_program rabbitmq-server || echo rabbitmq-server
    fi
    if newer_rabbitmq_wanted; then
        has_program debootstrap || [[ -x /usr/sbin/debootstrap ]] || echo debootstrap
    fi
    if [[ -z ${RADBUS_MONGO_URL:-} ]] && ! has_program mongod; then
        grep -q 'libcurl\.so\.4 ' <<<"$libraries" || echo libcurl4
        grep -q 'libcrypto\.so\.3 ' <<<"$libraries" || echo libssl3
    fi
    if [[ -z ${RADBUS_TRITON_URL:-} ]]; then
        has_shared_python "$libraries" || echo libpython3.11
    fi
}

newer_rabbitmq_wanted() { [[ ${RADBUS_RABBITMQ:-} == 4.3 && -z ${RADBUS_AMQP_URL:-} ]]; }

has_program() { command -v "$1" >/dev/null 2>&1; }

# Triton's Python backend loads Python as a library.
has_shared_python() {
    local python own
    python="$(find_python)" || return 1
    own="$("$python" -c 'import sys; print("%s/lib/libpython%d.%d.so.1.0" % (sys.base_prefix, *sys.version_info[:2]))')"
    [[ -e $own ]] || grep -qF "${own##*/} " <<<"$1"
}

# Prefers the oldest: numpy 1.26, which Triton's Python needs, has no wheel for 3.13.
find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3.13; do
        if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

install_packages() {
    local packages=("$@") policy=/usr/sbin/policy-rc.d
    if [[ $(id -u) != 0 ]] || ! has_program apt-get; then
        fail "missing: ${packages[*]} (names of Debian packages); install them, or run this as root where there is apt-get."
    fi
    say "installing ${packages[*]}"
    if [[ ! -e $policy ]]; then
        # RabbitMQ's and nginx's packages would start servers of the whole system; the stack runs its own.
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        # shellcheck disable=SC2064 # the path as it is now
        trap "rm -f $policy" EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o Acquire::Retries=3 -qq update
    apt-get -o Acquire::Retries=3 -qq install -y --no-install-recommends "${packages[@]}" >/dev/null
    # Nor at the next start of the machine, on port 80.
    if [[ " ${packages[*]} " == *" nginx "* ]] && has_program systemctl; then
        systemctl disable --quiet nginx || true
    fi
    if [[ " ${packages[*]} " == *" prometheus "* ]] && has_program systemctl; then
        systemctl disable --quiet prometheus || true
    fi
}

# What the two environments are made from; a change of any of it makes them again.
fingerprint() {
    {
        echo "$PWD" "$uv_version"
        sha256sum deploy/local/install.sh requirements.lock deploy/local/triton-requirements.lock \
            deploy/k8s/check-requirements.lock \
            libs/*/pyproject.toml services/*/pyproject.toml cli/pyproject.toml
    } | sha256sum
}

make_environment() {
    local folder="$1"
    "$folder/bin/python" -c 'import pip' >/dev/null 2>&1 || "$(find_python)" -m venv --clear "$folder"
}

install_radbus() {
    local project editable=()
    make_environment .venv
    [[ "$(.venv/bin/uv --version 2>/dev/null)" == "uv $uv_version"* ]] || .venv/bin/python -m pip install -q "uv==$uv_version"
    for project in libs/* services/* cli; do
        [[ -f $project/pyproject.toml ]] && editable+=(-e "$project")
    done
    # Else every start of a service compiles what cannot be written, such as in a home that keeps no bytecode.
    VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip install -q --compile-bytecode --require-hashes -r requirements.lock
    VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip install -q --no-deps "${editable[@]}"
}

install_triton() {
    make_environment .local/triton-venv
    VIRTUAL_ENV="$PWD/.local/triton-venv" .venv/bin/uv pip install -q --compile-bytecode --no-deps --require-hashes \
        -r deploy/local/triton-requirements.lock
}

install_k8s_tools() {
    make_environment .local/k8s-venv
    VIRTUAL_ENV="$PWD/.local/k8s-venv" .venv/bin/uv pip install -q --no-deps --require-hashes \
        -r deploy/k8s/check-requirements.lock
}

mkdir -p .local
exec 9>.local/install.lock
flock 9

missing="$(missing_packages)"
# shellcheck disable=SC2086 # a list of words
[[ -z $missing ]] || install_packages $missing
! newer_rabbitmq_wanted || deploy/local/install_rabbitmq.sh "$PWD/.local/rabbitmq-$RADBUS_RABBITMQ"

if [[ -x .venv/bin/radbus && -x .local/k8s-venv/bin/kubectl && (-x .local/triton-venv/bin/python || -n ${RADBUS_TRITON_URL:-}) ]] &&
    [[ -f $stamp && "$(<"$stamp")" == "$(fingerprint)" ]]; then
    exit 0
fi
rm -f "$stamp"
say "installing the Python packages"
install_radbus
[[ -n ${RADBUS_TRITON_URL:-} ]] || install_triton
install_k8s_tools
fingerprint >"$stamp"
