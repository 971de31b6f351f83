#!/bin/sh
# Makes .tools/prometheus: Debian's prometheus and promtool for tests/integration/prometheus, without root. Safe to run again.
set -eu

cd "$(dirname "$0")/../../.."
PLACE=.tools/prometheus

mkdir -p .tools
exec 9>.tools/prometheus.lock
flock 9

if [ -x "$PLACE/promtool" ]; then
    exit 0
fi
DRAFT=$(mktemp -d .tools/prometheus.XXXXXX)
trap 'rm -rf "$DRAFT"' EXIT
chmod 755 "$DRAFT" # apt downloads as a user of its own where it can

download() { (cd "$DRAFT" && apt-get -qq download prometheus) 2>/dev/null; }
if ! download && ! { apt-get -qq update && download; }; then
    echo 'install.sh: apt has no package prometheus; run "apt-get update" as root, then this again' >&2
    exit 1
fi
dpkg -x "$DRAFT"/prometheus_*.deb "$DRAFT/package"
mkdir -p "$PLACE"
# promtool is moved last: where it is, all is.
mv "$DRAFT/package/usr/bin/prometheus" "$PLACE/prometheus"
mv "$DRAFT/package/usr/bin/promtool" "$PLACE/promtool"
