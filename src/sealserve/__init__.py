"""SealServe: models that stay sealed until an attested enclave opens them."""

__version__ = "0.1.0"
