"""Load on a service: what it answers, how fast and how surely, under a load of a given shape.

`Plan` says what is sent and when, `run_load` does it and gives a `Report`. In a closed loop clients
wait for their answers; in an open loop requests are due at moments of their own, and each one's
time counts from there, so that a stall is charged for all whom it kept waiting. The request is
serialized once and answers are not decoded: times are those of the wire and of the server.
"""

from sealserve.client.load.limits import Limit, parse_limit
from sealserve.client.load.plan import Plan, Shot
from sealserve.client.load.report import Report, Row, StepReport
from sealserve.client.load.requests import json_shot, make_shot
from sealserve.client.load.running import run_load
from sealserve.client.load.schedule import Step, ramp

__all__ = [
    "Limit",
    "Plan",
    "Report",
    "Row",
    "Shot",
    "Step",
    "StepReport",
    "json_shot",
    "make_shot",
    "parse_limit",
    "ramp",
    "run_load",
]
