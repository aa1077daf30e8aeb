#!/bin/sh
# Make or widen the environment FOLDER with the extra EXTRA of this project.
# Usage: environment.sh FOLDER EXTRA        (PYTHON names the interpreter; uv is used where it is)
# What is missing is installed where we are root on Debian or Ubuntu, and named first otherwise.
set -eu
folder=$1 extra=$2 python=${PYTHON:-python3}

missing() { # package, why
	echo "missing: $1 ($2)" >&2
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing $1 with apt-get" >&2
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
			--no-install-recommends "$1" >/dev/null
	else
		echo "  get it with: sudo apt-get install $1" >&2
		exit 1
	fi
}

command -v "$python" >/dev/null || missing python3 "the interpreter $python"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
	echo "missing: Python 3.11 or later; $python is $("$python" -V 2>&1)" >&2
	echo "  name another with: make PYTHON=python3.12 ..." >&2
	exit 1
}
if command -v uv >/dev/null; then
	[ -x "$folder/bin/python" ] || uv venv -q --seed -p "$python" "$folder"
	install="uv pip install -q --python $folder/bin/python"
else
	"$python" -c 'import ensurepip' 2>/dev/null || missing python3-venv "Python's venv module"
	[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
	install="$folder/bin/python -m pip install -q"
fi
echo "installing sealserve[$extra] and its packages into $folder" >&2
# shellcheck disable=SC2086
$install -c constraints.txt -e ".[$extra]"
