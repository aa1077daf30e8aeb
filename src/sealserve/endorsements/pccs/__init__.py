"""Collateral from a service that speaks Intel's PCS or PCCS interface: the room's impure corner.

What comes back is trusted by Intel's signatures alone, so this client only has to stand a service
that is slow, down, wrong or hostile: one deadline for everything, limits on every size, no
redirects, no compression. It asks over TLS, because who answers in the service's place can hold
back a revocation for as long as the last answer is valid.
Source: Intel SGX and TDX Provisioning Certification Service API, versions 3 and 4, and the PCCS of
intel/confidential-computing.tee.dcap.pccs (`/rootcacrl`, CRLs in hex).
"""

from sealserve.endorsements.pccs.client import PccsClient
from sealserve.endorsements.pccs.interface import DEFAULT_PATH, Update
from sealserve.endorsements.pccs.service import DEFAULT_TIMEOUT, Service, service

__all__ = ["DEFAULT_PATH", "DEFAULT_TIMEOUT", "PccsClient", "Service", "Update", "service"]
