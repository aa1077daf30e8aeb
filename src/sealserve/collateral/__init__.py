"""Collateral at hand: where it comes from, kept on disk and in memory, and what it foretells."""
