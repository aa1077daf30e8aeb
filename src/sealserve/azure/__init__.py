"""Microsoft Azure Attestation, asked over its REST interface: a verifier that runs elsewhere.

The checks of its tokens are pure and in `sealserve.verifier.maa`; this room asks the questions. It
is a room of its own, above the verifier, because it fetches no endorsements (`endorsements.pccs`
does): it sends evidence away and brings claims back, and needs the pure checks to do so.
"""

from sealserve.azure.client import AzureAttestation
from sealserve.azure.instance import DEFAULT_TIMEOUT, Instance, instance

__all__ = ["DEFAULT_TIMEOUT", "AzureAttestation", "Instance", "instance"]
