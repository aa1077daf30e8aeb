"""`sealserve.toml`: what it may say, and how it is read, judged and written."""
