"""What the key service measures: every metric, with its name, its meaning and its labels.

The list is closed, and every label has values of a vocabulary of ours: a name that a stranger chose
(a host name, a secret, an identity) is in no label, or anybody could make the monitoring grow.
docs/watching.md explains each; alerts and dashboards in `sealserve.deploy` use no other.
Source of the naming: Prometheus' conventions (prefix, base units, `_total` for counters).
"""

from __future__ import annotations

from dataclasses import dataclass

from sealserve.keyservice.asking import Outcome

PREFIX = "sealserve_keyservice_"

OUTCOMES = tuple(str(each) for each in Outcome)
RESULTS = ("ok", "failed")
CERTIFICATES = ("release", "admin")


@dataclass(frozen=True)
class Counter:
    """Counted up in every process."""

    name: str
    meaning: str


@dataclass(frozen=True)
class NamedCounter:
    """The same, once for each combination of its labels' values, as they come."""

    name: str
    meaning: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Sum:
    """A number that goes up and down: what the processes have of it together."""

    name: str
    meaning: str


@dataclass(frozen=True)
class Latest:
    """One number that all processes know: what was told last, by whichever; none before."""

    name: str
    meaning: str
    label: str | None = None
    values: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Histogram:
    """Observations by size: `bounds` are the upper ends of the buckets but the last."""

    name: str
    meaning: str
    bounds: tuple[float, ...]
    label: str | None = None
    values: tuple[str, ...] = ("",)


# From a record that is already on its way to disk, to a verifier elsewhere that is asked in vain.
_DECISION = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_HANDSHAKE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COMMIT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_BATCH = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

DECISIONS = NamedCounter(
    "decisions_total", "Decisions on record, one for each secret asked for.", ("outcome", "code")
)
DECISION_SECONDS = Histogram(
    "decision_duration_seconds",
    "From a whole request to its record, durable.",
    _DECISION,
    "outcome",
    OUTCOMES,
)
HANDSHAKE_SECONDS = Histogram(
    "handshake_duration_seconds",
    "From the connection to the end of the TLS handshake.",
    _HANDSHAKE,
    "result",
    RESULTS,
)
SESSIONS = Counter("sessions_total", "Connections that became a session.")
OPEN_SESSIONS = Sum("open_sessions", "Sessions that are open now.")
SESSIONS_ENDED = NamedCounter("sessions_ended_total", "Sessions that ended, by how.", ("how",))
REFUSALS = NamedCounter(
    "refusals_total", "Connections and requests turned away by a limit.", ("reason",)
)
BATCH_RECORDS = Histogram("log_batch_records", "Records made durable by one commit.", _BATCH)
BATCH_SECONDS = Histogram(
    "log_batch_duration_seconds", "From the lock on the log's head to the commit.", _COMMIT
)
LOG_FAILURES = Counter("log_failures_total", "Records that could not be made durable.")
LOG_ROLLBACKS = Counter(
    "log_rollbacks_total", "Times that the database had an older log than was seen before."
)
LOG_RECORDS = Latest("log_records", "Size of the audit log.")
RULES_REVISION = Latest("rules_revision", "Revision of policy, secrets and revocations in force.")
DATABASE_UP = Latest("database_up", "1 if the database answered when it was last asked.")
READY = Latest("ready", "1 if the service was ready when that was last examined.")
SIMULATED = Latest("simulated", "1 if the trust root is not Intel's: no hardware vouches.")
CERTIFICATE_EXPIRY = Latest(
    "certificate_expiry_timestamp_seconds",
    "End of a TLS certificate of this service.",
    "certificate",
    CERTIFICATES,
)
COLLATERAL_UNTIL = Latest(
    "collateral_valid_until_timestamp_seconds",
    "End of the collateral that ends first, of what is in use.",
)

Measure = Counter | NamedCounter | Sum | Latest | Histogram

ALL: tuple[Measure, ...] = (
    DECISIONS,
    DECISION_SECONDS,
    HANDSHAKE_SECONDS,
    SESSIONS,
    OPEN_SESSIONS,
    SESSIONS_ENDED,
    REFUSALS,
    BATCH_RECORDS,
    BATCH_SECONDS,
    LOG_FAILURES,
    LOG_ROLLBACKS,
    LOG_RECORDS,
    RULES_REVISION,
    DATABASE_UP,
    READY,
    SIMULATED,
    CERTIFICATE_EXPIRY,
    COLLATERAL_UNTIL,
)


def cells_of(measure: Measure) -> int:
    """How many cells of a board's row a measure takes."""
    match measure:
        case Counter() | Sum():
            return 1
        case NamedCounter():
            return 0  # it has a table of names
        case Latest():
            return 2 * len(measure.values)  # when, and what
        case Histogram():
            return len(measure.values) * (len(measure.bounds) + 2)  # buckets, and the sum
