#!/bin/sh
# Makes .tools/clients: a Go with gRPC out of Debian's packages, and TypeScript with gRPC out of npm's. Safe to run again.
set -eu

cd "$(dirname "$0")/../../.."
GO='golang-1.19-go golang-1.19-src golang-google-grpc-dev golang-google-protobuf-dev golang-google-genproto-dev'
GO="$GO golang-github-golang-protobuf-1-5-dev golang-golang-x-net-dev golang-golang-x-sys-dev golang-golang-x-text-dev"
GO="$GO protoc-gen-go protoc-gen-go-grpc"
NODE='typescript@7.0.2 ts-proto@2.18.0 @bufbuild/protobuf@2.17.0 @grpc/grpc-js@1.14.7 @types/node@26.6.6'
PLACE=.tools/clients

mkdir -p .tools
exec 9>.tools/clients.lock
flock 9

if [ "$(cat "$PLACE/complete" 2>/dev/null || true)" = "$GO $NODE" ]; then
    exit 0
fi
rm -rf "$PLACE"
mkdir -p "$PLACE/packages" "$PLACE/node"
# shellcheck disable=SC2086  # one word a package
download() { (cd "$PLACE/packages" && apt-get -qq download $GO) 2>/dev/null; }
if ! download && ! { apt-get -qq update && download; }; then
    echo "install.sh: apt does not know all of $GO; run \"apt-get update\" as root, then this again" >&2
    exit 1
fi
for package in "$PLACE"/packages/*.deb; do
    dpkg -x "$package" "$PLACE/go"
done
rm -r "$PLACE/packages"
# shellcheck disable=SC2086
npm install --silent --prefix "$PLACE/node" $NODE
printf '%s\n' "$GO $NODE" >"$PLACE/complete"
