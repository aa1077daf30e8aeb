"""The whole of SealServe on one machine, step by step."""
