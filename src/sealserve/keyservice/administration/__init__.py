"""What owners, auditors and operators do to a key service: here, or through its admin API."""
