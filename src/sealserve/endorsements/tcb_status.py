"""The statuses that Intel gives to a TCB level, in Intel's own words.

A level is what a platform, a quoting enclave or a TDX module has reached of the updates that Intel
published. The two statuses about a relaunch are never Intel's of a level, but what verification
makes of several: the platform was updated, and the TD runs on since before.
Source: Intel SGX and TDX Provisioning Certification Service API, version 4, "TCB Info"
and "Enclave Identity" models.
"""

from __future__ import annotations

from enum import StrEnum


class TcbStatus(StrEnum):
    """What Intel says about a TCB level that was reached."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"
    TD_RELAUNCH_ADVISED = "TDRelaunchAdvised"
    TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED = "TDRelaunchAdvisedConfigurationNeeded"


STATED = tuple(status for status in TcbStatus if not status.startswith("TDRelaunchAdvised"))
"""The statuses that a signed statement may give to a level, from the best to the worst."""
