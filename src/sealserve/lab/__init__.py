"""The lab: a small Intel-shaped world in place of SGX hardware; it always says SIMULATED."""
