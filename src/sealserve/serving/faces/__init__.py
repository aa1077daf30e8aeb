"""The faces of the data plane: the protocols that clients speak, each thin."""
