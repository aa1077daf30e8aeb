"""A service in a running cluster: applied, watched, scaled, upgraded, explained, removed."""
