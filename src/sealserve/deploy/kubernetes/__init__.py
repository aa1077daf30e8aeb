"""A description rendered for Kubernetes: objects, a Kustomize base with overlays, Helm charts."""
