"""The verifier: evidence, collateral, a named trust root and `now` in; claims out. Pure."""
