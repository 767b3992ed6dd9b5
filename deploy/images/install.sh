#!/usr/bin/env bash
# Puts what one project of this repository needs into a folder; the Dockerfiles run it, and a test runs it as they do.
#   install.sh tools                   uv and the build backend, pinned, into the Python that runs
#   install.sh packages PROJECT FOLDER the project's packages of others: names by its pyproject.toml, versions and
#                                      hashes by requirements.lock alone; the list stays in FOLDER/packages.lock
#   install.sh own PROJECT... FOLDER   our own packages
#   install.sh machines FOLDER         the machines' manifests
#   install.sh triton PYTHON FOLDER    what the models import, for the Python of a Triton
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Prints those packages of a lock whose names are in a file, a name a line, with their hashes.
chosen() {
    awk -v names="$1" '
        BEGIN { while ((getline name < names) > 0) wanted[name] = 1 }
        /^[a-z0-9]/ { match($0, /^[a-z0-9._-]+/); keep = substr($0, 1, RLENGTH) in wanted }
        keep { print }
    ' "$2"
}

own_names() { sed -nE 's/^name = "(radbus-[a-z]+)"$/\1/p' libs/*/pyproject.toml services/*/pyproject.toml cli/pyproject.toml; }

packages() {
    local project="$1" folder="$2" name hidden=()
    while read -r name; do hidden+=(--no-emit-package "$name"); done < <(own_names)
    mkdir -p "$folder"
    uv pip compile -q --constraints requirements.lock "${hidden[@]}" --no-header --no-annotate \
        --python-version 3.11 "$project/pyproject.toml" | sed -nE 's/^([a-z0-9._-]+).*/\1/p' >"$folder/names"
    chosen "$folder/names" requirements.lock >"$folder/packages.lock"
    # One of them may be there for each Python.
    if ! diff -q <(sort "$folder/names") <(grep -oE '^[a-z0-9._-]+' "$folder/packages.lock" | sort -u) >/dev/null; then
        echo "install.sh: requirements.lock lacks some of what $project needs: make lock" >&2 && exit 1
    fi
    rm "$folder/names"
    uv pip install -q --require-hashes --no-deps --python-version 3.11 --target "$folder" -r "$folder/packages.lock"
}

own() {
    local folder="${*: -1}" projects=() project
    for project in "${@:1:$#-1}"; do projects+=("./$project"); done
    uv pip install -q --no-deps --no-build-isolation --python "$(command -v python)" --target "$folder" "${projects[@]}"
}

machines() {
    local manifest
    for manifest in triton_models/*/machine.yaml; do
        install -D -m 644 "$manifest" "$1/$(basename "$(dirname "$manifest")")/machine.yaml"
    done
}

triton() {
    local lock=deploy/local/triton-requirements.lock names
    names="$(mktemp)"
    # The server itself is the image's.
    sed -nE 's/^([a-z0-9._-]+)==.*/\1/p' "$lock" | grep -v '^nvidia-pytriton$' >"$names"
    chosen "$names" "$lock" >"$names.lock"
    uv pip install -q --require-hashes --no-deps --only-binary :all: --python-version "$1" --target "$2" -r "$names.lock"
    rm "$names" "$names.lock"
}

case "${1:-}" in
    tools) pip install --no-cache-dir --quiet --require-hashes -r deploy/images/build-requirements.lock ;;
    packages | own | machines | triton) "$@" ;;
    *) echo "install.sh: expected tools, packages, own, machines or triton" >&2 && exit 2 ;;
esac
