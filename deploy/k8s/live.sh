#!/usr/bin/env bash
# Applies the local overlay to the cluster that KUBECONFIG names, waits until it is ready, sends a phantom's CT and reads its
# result. The images must be there (docs/deploy.md). Nothing is removed afterwards: kubectl delete -k deploy/k8s/overlays/local
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly overlay=deploy/k8s/overlays/local wait_s="${RADBUS_LIVE_WAIT_S:-900}" port="${RADBUS_LIVE_PORT:-28080}"
kubectl=.local/k8s-venv/bin/kubectl

fail() {
    echo "k8s-live: $*" >&2
    exit 1
}

[[ -n ${KUBECONFIG:-} ]] || fail "expected KUBECONFIG to name the cluster; nothing was applied."
[[ -x $kubectl ]] || kubectl="$(command -v kubectl)" || fail "kubectl was not found: run make install."
"$kubectl" version --request-timeout=15s >/dev/null || fail "the cluster that KUBECONFIG names does not answer."
in_radbus() { "$kubectl" --namespace radbus "$@"; }

context="$("$kubectl" config current-context)"
[[ -z "$(in_radbus get deployments --output name 2>/dev/null)" || ${RADBUS_LIVE_AGAIN:-} == yes ]] ||
    fail "$context has a namespace radbus with deployments already; RADBUS_LIVE_AGAIN=yes applies to it all the same."
echo "k8s-live: applying $overlay to $context"
"$kubectl" apply --kustomize "$overlay"

for workload in statefulset/rabbitmq statefulset/mongodb statefulset/seaweedfs deployment/triton \
    deployment/{ingest,router,scheduler,results,worker,front}; do
    in_radbus rollout status "$workload" --timeout="${wait_s}s" || {
        in_radbus get pods --output wide >&2
        in_radbus get events --sort-by=.lastTimestamp | tail -20 >&2
        fail "$workload was not ready in $wait_s s."
    }
done

echo "k8s-live: making a token"
token="$(deploy/k8s/radbus.sh tokens create live | tail -1)"
[[ -n $token ]] || fail "no token was made."

in_radbus port-forward service/front "$port:8080" >/dev/null &
forwarding=$!
folder="$(mktemp -d)"
trap 'kill "$forwarding" 2>/dev/null || true; rm -rf "$folder"' EXIT
for _ in $(seq 60); do
    if curl --silent --fail --max-time 2 "http://127.0.0.1:$port/healthz" >/dev/null; then break; fi
    sleep 1
done

echo "k8s-live: sending a chest CT"
.venv/bin/python - "$folder" <<'PHANTOM'
import sys
from pathlib import Path

from radbus_testing.phantom import chest_phantom
from radbus_testing.phantom_dicom import write_phantom

write_phantom(Path(sys.argv[1]), chest_phantom())
PHANTOM
RADBUS_URL="http://127.0.0.1:$port" RADBUS_TOKEN="$token" .venv/bin/radbus send "$folder" --wait --timeout-s "$wait_s"
echo "k8s-live: a study went through $context"
