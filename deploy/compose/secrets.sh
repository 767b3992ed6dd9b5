#!/usr/bin/env bash
# Writes .env with passwords that nobody knows; one that is there stays as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
umask 077
touch .env
[[ -z "$(tail -c 1 .env)" ]] || echo >>.env
for name in RABBITMQ_PASSWORD S3_SECRET_KEY ACCESS_KEY PATIENT_KEY WEBHOOK_KEY; do
    grep -q "^$name=" .env || printf '%s=%s\n' "$name" "$(openssl rand -hex 24)" >>.env
done
