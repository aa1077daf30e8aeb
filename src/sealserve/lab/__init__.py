"""The lab: a small Intel-shaped world that stands in for SGX hardware, and always says SIMULATED."""
