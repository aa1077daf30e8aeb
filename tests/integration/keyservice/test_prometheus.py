"""A real Prometheus scrapes the watch, and evaluates on it the rules that we ship."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from operating import FILES, KEYSERVICE_RULES
from sealserve.deploy.keyservice import RULES
from sealserve.hosts import Address, ListenAddress
from sealserve.keyservice.metrics import Metrics
from sealserve.keyservice.watch import Watch

SECONDS = 90
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: sealserve-keyservice
    static_configs: [{{targets: ["{target}"]}}]
"""

pytestmark = [
    pytest.mark.timeout(SECONDS + 30),
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="Prometheus is missing (Debian: prometheus)"
    ),
]


class Ready:
    async def problems(self) -> Sequence[str]:
        return ()


@contextlib.asynccontextmanager
async def prometheus(folder: Path, target: Address) -> AsyncIterator[httpx.AsyncClient]:
    """One of our own, with the rules that we ship, that scrapes `target` every second."""
    (folder / RULES).write_text(FILES[RULES])
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(rules=RULES, target=target))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}/api/v1/"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            yield http
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def asked(http: httpx.AsyncClient, path: str, **query: str) -> Any:
    """The answer's data; None while there is no answer yet."""
    with contextlib.suppress(httpx.TransportError):
        answer = await http.get(path, params=query)
        if answer.status_code == 200:
            return answer.json()["data"]
    return None


async def value_of(http: httpx.AsyncClient, query: str) -> str:
    """The one value of a query, once there is one."""
    while True:
        data = await asked(http, "query", query=query)
        if data and data["result"]:
            (result,) = data["result"]
            return str(result["value"][1])
        await asyncio.sleep(0.2)


async def alerts(http: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    """Every alert's state, once all of them were evaluated."""
    while True:
        data = await asked(http, "rules", type="alert")
        rules = [rule for group in data["groups"] for rule in group["rules"]] if data else []
        if rules and all(rule["health"] != "unknown" for rule in rules):
            return {rule["name"]: rule for rule in rules}
        await asyncio.sleep(0.2)


def test_it_reads_the_metrics_and_every_rule_holds_on_them(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.decision("released", "policy.allowed", 0.01)
    metrics.log_head(41, 7)
    metrics.certificate("release", datetime.now(UTC) + timedelta(days=1))
    metrics.simulated(yes=False)

    async def test() -> None:
        watch = Watch(metrics, Ready(), ListenAddress("127.0.0.1", 0))
        target = await watch.start()
        try:
            async with asyncio.timeout(SECONDS), prometheus(tmp_path, target) as http:
                assert await value_of(http, "sealserve_keyservice_log_records") == "41"
                assert await value_of(http, "sealserve_keyservice_ready") == "1"
                assert await value_of(http, 'up{job="sealserve-keyservice"}') == "1"
                while (found := await alerts(http))["KeyServiceCertificateExpiresSoon"][
                    "state"
                ] != "firing":
                    await asyncio.sleep(0.2)
                assert set(found) == set(KEYSERVICE_RULES.alerts)
                assert {rule["health"] for rule in found.values()} == {"ok"}
                firing = {name for name, rule in found.items() if rule["state"] == "firing"}
                ends = {"KeyServiceCertificateExpires", "KeyServiceCertificateExpiresSoon"}
                assert firing == ends
        finally:
            await watch.stop()

    asyncio.run(test())
