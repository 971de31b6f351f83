#!/bin/sh
# Makes .tools/image: buildah, crun and a base image, for tests/integration/image, from Debian's packages. Safe to run again.
# The tests build and run containers, for which they must be root. Only libraries are installed on the machine: buildah starts itself
# anew without the environment in which it would find them elsewhere.
set -eu

cd "$(dirname "$0")/../../.."
PACKAGES='buildah crun mmdebstrap'
LIBRARIES='libassuan0 libdevmapper1.02.1 libgpgme11 libseccomp2 libyajl2'
PLACE=.tools/image

mkdir -p .tools
exec 9>.tools/image.lock
flock 9

if [ -e "$PLACE/complete" ]; then
    exit 0
fi
rm -rf "$PLACE/programs" "$PLACE/packages"
mkdir -p "$PLACE/packages"
# shellcheck disable=SC2086  # one word a package
download() { (cd "$PLACE/packages" && apt-get -qq download $PACKAGES) 2>/dev/null; }
if ! download && ! { apt-get -qq update && download; }; then
    echo "install.sh: apt does not know all of $PACKAGES; run \"apt-get update\" as root, then this again" >&2
    exit 1
fi
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $LIBRARIES >/dev/null
for package in "$PLACE"/packages/*.deb; do
    dpkg -x "$package" "$PLACE/programs"
done
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$PLACE/policy.json"

# What the registry would give as debian:bookworm-slim: the least that Debian calls a system, without its documentation.
PATH="$PWD/$PLACE/programs/usr/bin:$PATH" perl "$PLACE/programs/usr/bin/mmdebstrap" --quiet --variant=minbase \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    bookworm "$PLACE/base.tar"
touch "$PLACE/complete"
