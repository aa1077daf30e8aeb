"""Gramine manifests: made from a description, and searched for what they let the host do."""
