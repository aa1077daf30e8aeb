"""The enclave's side: evidence, an RA-TLS certificate over it, and fetching secrets with both."""
