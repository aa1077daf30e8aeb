"""Models and their versions: found, loaded, warmed up, switched, drained."""
