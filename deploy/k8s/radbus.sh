#!/usr/bin/env bash
# Runs the command `radbus` in a pod beside the services, with their settings and secrets, and prints what it says:
#   deploy/k8s/radbus.sh tokens create north-hospital
set -euo pipefail

kubectl="$(dirname "${BASH_SOURCE[0]}")/../../.local/k8s-venv/bin/kubectl"
[[ -x $kubectl ]] || kubectl=kubectl
in_radbus() { "$kubectl" --namespace radbus "$@"; }
of_results() { in_radbus get deployment results --output jsonpath="{.spec.template.spec.containers[0].$1}"; }

image="$(of_results image)"
# radbus-results and .../radbus/results alike; a digest is of that image alone, so the tag counts.
image="${image%@*}"
image="${image/results:/cli:}"
name="radbus-$(date +%s)"
arguments="$(printf '%s\n' "$@" | jq --raw-input . | jq --slurp --compact-output .)"
overrides="$(jq --null-input --compact-output --arg image "$image" --argjson arguments "$arguments" \
    --argjson environment "$(of_results env)" --argjson settings "$(of_results envFrom)" '{apiVersion: "v1", spec: {
    automountServiceAccountToken: false, enableServiceLinks: false,
    securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, seccompProfile: {type: "RuntimeDefault"}},
    volumes: [{name: "tmp", emptyDir: {}}],
    containers: [{name: "radbus", image: $image, imagePullPolicy: "IfNotPresent", args: $arguments,
        env: $environment, envFrom: $settings, volumeMounts: [{name: "tmp", mountPath: "/tmp"}],
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: ["ALL"]}},
        resources: {requests: {cpu: "100m", memory: "256Mi"}, limits: {memory: "1Gi"}}}]}}')"

trap 'in_radbus delete pod "$name" --ignore-not-found --wait=false >/dev/null' EXIT
in_radbus run "$name" --image="$image" --restart=Never --labels=radbus/service=command --overrides="$overrides" >/dev/null
for _ in $(seq 90); do
    phase="$(in_radbus get pod "$name" --output jsonpath='{.status.phase}')"
    [[ $phase == Succeeded || $phase == Failed ]] && break
    sleep 2
done
in_radbus logs "$name"
[[ $phase == Succeeded ]]
