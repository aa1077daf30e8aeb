#!/bin/sh
# What `make test-gramine` needs: Gramine's programs, which are named where they are missing, and the
# server with its packages in an environment of its own, as an enclave would have them.
# Usage: gramine.sh FOLDER        (PYTHON names the interpreter; uv is used where it is)
set -eu
folder=$1 python=${PYTHON:-python3}

for program in gramine-direct gramine-manifest gramine-sgx-sign; do
	command -v $program >/dev/null || {
		echo "missing: $program, so that nothing is run under Gramine" >&2
		echo "  get it with: sudo apt-get install gramine, from https://packages.gramineproject.io/" >&2
		echo "  (suites bookworm, bullseye, noble, jammy); no SGX is needed for this test" >&2
		exit 1
	}
done
if command -v uv >/dev/null; then
	[ -x "$folder/bin/python" ] || uv venv -q --seed -p "$python" "$folder"
	install="uv pip install -q --python $folder/bin/python"
	anew=--reinstall-package=sealserve
else
	[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
	install="$folder/bin/python -m pip install -q"
	anew=
	"$folder/bin/python" -m pip uninstall -q -y sealserve
fi
echo "installing sealserve[serving] and its packages into $folder" >&2
# shellcheck disable=SC2086
$install $anew -c constraints.txt ".[serving]"
