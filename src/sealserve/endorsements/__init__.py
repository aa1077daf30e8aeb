"""Endorsements: PCK extensions, TCB info, QE identity and CRLs as types; `pccs` fetches them."""
