"""The key service: verifies an enclave, appraises it, records the decision, releases a secret."""
