#!/bin/sh
# What the tests use of Debian: real databases, tokens, balancers and checkers, none of them a mock.
# As root on Debian or Ubuntu what is missing is installed, and no service of it is started;
# otherwise it is named, and the tests that need it are skipped and say so.
# Usage: test_packages.sh [cluster]        (what `make test-cluster` needs beside Go)
set -eu
start_policy=/usr/sbin/policy-rc.d # asked before a package starts a service

missing=
need() { # package, then files of which one must be there
	package=$1
	shift
	for file; do
		[ ! -e "$file" ] || return 0
	done
	missing="$missing $package"
}

if [ "${1-}" = cluster ]; then
	need containerd /usr/bin/containerd
	need runc /usr/sbin/runc /usr/bin/runc
	need docker-registry /usr/bin/docker-registry
	need skopeo /usr/bin/skopeo
	need prometheus /usr/bin/prometheus
	need postgresql /usr/lib/postgresql/*/bin/postgres
	need containernetworking-plugins /usr/lib/cni/bridge
	need conntrack /usr/sbin/conntrack
	need iptables /usr/sbin/iptables
	need ipset /usr/sbin/ipset /sbin/ipset
	need iproute2 /usr/bin/ip /usr/sbin/ip /bin/ip
	need podman /usr/bin/podman
	need debootstrap /usr/sbin/debootstrap
else
	need nginx /usr/sbin/nginx
	need libnginx-mod-stream /usr/lib/nginx/modules/ngx_stream_module.so
	need postgresql /usr/lib/postgresql/*/bin/postgres
	need softhsm2 /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so
	need prometheus /usr/bin/promtool
	need gcc /usr/bin/cc
	need openssl /usr/bin/openssl
	need curl /usr/bin/curl
fi

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "not installed, so that some tests are skipped:$missing" >&2
	echo "  get them with: sudo apt-get install$missing" >&2
	exit 0
fi
echo "installing$missing with apt-get" >&2
if [ ! -e $start_policy ]; then
	trap 'rm -f $start_policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$start_policy
	chmod 755 $start_policy
fi
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
