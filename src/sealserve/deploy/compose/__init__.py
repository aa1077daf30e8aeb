"""A description run on one machine without Kubernetes: in containers, or as plain processes."""
