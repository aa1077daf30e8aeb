"""Evidence: bytes to quote, certificate to quote and binding, SIGSTRUCT. Pure."""
