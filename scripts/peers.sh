#!/bin/sh
# The peers of `make bench-serving`, in an environment of their own: they want other versions than
# ours. Usage: peers.sh FOLDER        (PYTHON names the interpreter; uv is used where it is)
# The engine and numpy are of the versions that ours has, so that it is the servers that differ.
# uvloop: MLServer 1.7.1 asks for an event loop in its workers, which 0.22 no longer makes for it.
set -eu
folder=$1 python=${PYTHON:-python3}
packages="mlserver==1.7.1 litserve==0.2.19 uvloop==0.21.0 $(grep -E '^(openvino|numpy)==' constraints.txt)"

if command -v uv >/dev/null; then
	[ -x "$folder/bin/python" ] || uv venv -q --seed -p "$python" "$folder"
	install="uv pip install -q --python $folder/bin/python"
else
	[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
	install="$folder/bin/python -m pip install -q"
fi
echo "installing MLServer and LitServe into $folder" >&2
# shellcheck disable=SC2086
$install $packages
