#!/bin/sh
# Builds the programs of each go.mod into the folder $1, one after another, each once; tells which.
set -eu
out=$1
cd "$(dirname "$0")"
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.}
stamp=k8s.io/component-base/version
flags="-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}"
mkdir -p "$out"
exec 9>"$out/lock"
flock 9

build() { # name, package, folder of its go.mod
	[ -x "$out/$1" ] && return
	echo "building $1" >&2
	CGO_ENABLED=0 go -C "${3:-.}" build -p "${JOBS:-2}" -trimpath -ldflags "$flags" -o "$out/$1.new" "$2"
	mv "$out/$1.new" "$out/$1"
}

build etcd go.etcd.io/etcd/server/v3
for name in kube-apiserver kubectl kubelet kube-controller-manager kube-scheduler kube-proxy; do
	build "$name" "k8s.io/kubernetes/cmd/$name"
done
build kube-router github.com/cloudnativelabs/kube-router/v2/cmd/kube-router
build coredns ./coredns
build pause ./pause
flags="-s -w"
build metrics-server sigs.k8s.io/metrics-server/cmd/metrics-server metrics
build prometheus-adapter sigs.k8s.io/prometheus-adapter/cmd/adapter adapter
helm=helm.sh/helm/v3
version=$(go -C helm list -m -f '{{.Version}}' $helm)
flags="$flags -X $helm/internal/version.version=$version"
flags="$flags -X $helm/pkg/chartutil.k8sVersionMinor=${minor%%.*}"
build helm $helm/cmd/helm helm
