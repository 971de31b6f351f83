#!/bin/sh
# Makes .tools/triton: a real Triton server (2.51, from the wheel of nvidia-pytriton) for tests/tritonserver. Safe to run again.
# It has an environment of its own, since with numpy 2 the server's python backend sends outputs of 0 bytes and calls it OK.
set -eu

cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3} # 3.8 to 3.13, with a shared libpython
SERVER=nvidia-pytriton==0.7.0
PACKAGES='numpy<2 onnxruntime==1.31.1'
PLACE=.tools/triton

mkdir -p .tools
exec 9>.tools/triton.lock
flock 9

# The stamp is written last and says what was installed, so that anything half made, or made otherwise, is made anew.
STAMP="$SERVER $PACKAGES $("$PYTHON" -c 'import sys; print(sys.base_prefix, sys.version.split()[0])')"
if [ "$(cat "$PLACE/complete" 2>/dev/null || true)" = "$STAMP" ]; then
    exit 0
fi
rm -rf "$PLACE"
"$PYTHON" -m venv "$PLACE"
pip() { "$PLACE/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
# shellcheck disable=SC2086  # one word a package
pip install $PACKAGES
pip install --no-deps "$SERVER" # the rest of it is for its Python interface, which nobody uses here

# The server wants the python backend and the stub for this Python in one folder.
PACKAGE=$("$PLACE/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pytriton/tritonserver
VERSION=$("$PLACE/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
mkdir -p "$PLACE/backends"
cp -r "$PACKAGE/backends/python" "$PLACE/backends/python"
cp "$PACKAGE/python_backend_stubs/$VERSION/triton_python_backend_stub" "$PLACE/backends/python/"
printf '%s\n' "$STAMP" >"$PLACE/complete"
