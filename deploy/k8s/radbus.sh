#!/usr/bin/env bash
# Runs the command `radbus` in a pod beside the services, with their settings and secrets, and prints what it says:
#   deploy/k8s/radbus.sh tokens create north-hospital
# `backup` and `restore` run as the nightly backup does, with the keys of its store, and go on when this script is ended:
#   deploy/k8s/radbus.sh restore s3://radbus-backups/nightly
set -euo pipefail

readonly start_s=180
kubectl="$(dirname "${BASH_SOURCE[0]}")/../../.local/k8s-venv/bin/kubectl"
[[ -x $kubectl ]] || kubectl=kubectl
in_radbus() { "$kubectl" --namespace radbus "$@"; }
fail() {
    echo "radbus.sh: $*" >&2
    exit 1
}

# The nightly backup has the command's image as the site has set it. Where there is none it is called as that of results,
# radbus-results and .../radbus/results alike: by its tag, for a digest is of that image alone.
image_of_command() {
    if [[ -n $backup ]]; then
        jq --raw-output '.spec.jobTemplate.spec.template.spec.containers[0].image' <<<"$backup"
    elif [[ ${of_results%@*} =~ ^(.*)results(:[^/:]+)$ ]]; then
        echo "${BASH_REMATCH[1]}cli${BASH_REMATCH[2]}"
    else
        fail "expected RADBUS_CLI_IMAGE to name the image of the command: $of_results has no tag to find it by."
    fi
}

phase() {
    in_radbus get pods --selector "job-name=$name" --output 'jsonpath={.items[*].status.phase}'
}

results="$(in_radbus get deployment results --output json)"
backup="$(in_radbus get cronjob backup --ignore-not-found --output json)"
of_results="$(jq --raw-output '.spec.template.spec.containers[0].image' <<<"$results")"
image="${RADBUS_CLI_IMAGE:-$(image_of_command)}"
name="radbus-$(date +%s)"
arguments="$(printf '%s\n' "$@" | jq --raw-input . | jq --slurp --compact-output .)"

if [[ ${1:-} == backup || ${1:-} == restore ]]; then
    [[ -n $backup ]] || fail "expected the CronJob backup, of components/backup: it has the keys of the store of the backups."
    # As long as it takes, and once: one that was killed goes on when it is run again.
    job="$(jq --arg name "$name" --arg image "$image" --argjson arguments "$arguments" --argjson results "$results" '
        ($results.spec.template.spec.containers[0].env | map(select(.name == "RADBUS_AMQP_URL"))) as $broker
        | .spec.jobTemplate.spec.template | .spec.initContainers[0] as $make
        | {apiVersion: "batch/v1", kind: "Job", metadata: {name: $name}, spec: {
            backoffLimit: 0, ttlSecondsAfterFinished: 86400, template: (del(.spec.initContainers)
            | .spec.containers = [$make + {name: "radbus", image: $image, args: $arguments, env: ($make.env + $broker)}])}}
        ' <<<"$backup")"
    echo "radbus.sh: job/$name, which goes on when this ends" >&2
else
    job="$(jq --arg name "$name" --arg image "$image" --argjson arguments "$arguments" '
        .spec.template.spec.containers[0] as $service
        | {apiVersion: "batch/v1", kind: "Job", metadata: {name: $name}, spec: {
            backoffLimit: 0, ttlSecondsAfterFinished: 600, template: {metadata: {labels: {"radbus/service": "command"}}, spec: {
            restartPolicy: "Never", automountServiceAccountToken: false, enableServiceLinks: false,
            securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, seccompProfile: {type: "RuntimeDefault"}},
            volumes: [{name: "tmp", emptyDir: {}}],
            containers: [{name: "radbus", image: $image, imagePullPolicy: "IfNotPresent", args: $arguments,
                env: $service.env, envFrom: $service.envFrom, volumeMounts: [{name: "tmp", mountPath: "/tmp"}],
                securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: ["ALL"]}},
                resources: {requests: {cpu: "100m", memory: "256Mi"}, limits: {memory: "1Gi"}}}]}}}}' <<<"$results")"
    trap 'in_radbus delete job "$name" --ignore-not-found --wait=false >/dev/null' EXIT
fi

in_radbus create --filename - <<<"$job" >/dev/null
for _ in $(seq $((start_s / 2))); do
    now="$(phase)"
    [[ -n $now && $now != Pending ]] && break
    sleep 2
done
[[ -n $now && $now != Pending ]] || fail "its pod was not started in $start_s s: kubectl -n radbus describe pod -l job-name=$name"
in_radbus logs --follow "job/$name" || true
while [[ $now == Running ]]; do
    sleep 2
    now="$(phase)"
done
[[ $now == Succeeded ]]
