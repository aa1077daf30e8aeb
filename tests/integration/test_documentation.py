"""Every command in the documentation is one that works.

Blocks marked `sh` are run: the quick start from its top, then those of the other pages, in the
folder and among the services that it left. Everything else that begins with `sealserve` must at
least be a command with flags that exist. Every link leads to a page and a heading that are there.
"""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sealserve.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
QUICK_START = ROOT / "docs" / "quick-start.md"
RUN_BY_OTHERS = {"README.md", "CONTRIBUTING.md"}  # make's own targets, which run this very test
PORTS = ("8081", "8082", "4433", "4434", "4435", "8500", "8501", "8510", "8511")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(sealserve [^`]+)`")
WORD = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
SECONDS = 310  # one process after the other, some dozens of them


def blocks(page: Path) -> list[tuple[str, str]]:
    return FENCE.findall(page.read_text())


def shell_blocks(page: Path) -> list[str]:
    return [text for language, text in blocks(page) if language == "sh"]


def alone(text: str) -> str:
    """A page's block in a shell of its own, which ends what it has left in the background."""
    return f"(trap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT\n{text})"


def free_ports() -> dict[str, str]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    found = {name: str(server.getsockname()[1]) for name, server in zip(PORTS, held, strict=True)}
    for server in held:
        server.close()
    return found


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 10)
def test_the_quick_start_and_the_commands_of_every_page_run(tmp_path: Path) -> None:
    *steps, stop = shell_blocks(QUICK_START)
    script = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", *steps]
    for page in PAGES:
        if page != QUICK_START and page.name not in RUN_BY_OTHERS:
            script += [f"echo 'page {page.name}'", *map(alone, shell_blocks(page))]
    script += [stop.replace("wait", "wait || true"), "trap - EXIT", "echo 'to the end'"]
    text = "\n".join(script)
    for name, port in free_ports().items():
        text = re.sub(rf"\b{name}\b", port, text)
    folder = Path(sys.executable).parent
    ended = subprocess.run(
        ["bash", "-c", text],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    logs = "\n".join(f"{log.name}:\n{log.read_text()}" for log in tmp_path.glob("*.log"))
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}\n{logs}"
    assert ended.stdout.endswith("to the end\n")
    assert "{'outputs': {'predict': {'dtype': 'DT_FLOAT'" in ended.stdout
    assert '"outcome":"released"' in ended.stdout


def commands(page: Path) -> list[str]:
    lines = [
        line.strip()
        for _, text in blocks(page)
        for line in text.replace("\\\n", " ").splitlines()
        if line.strip().startswith("sealserve ")
    ]
    return lines + INLINE.findall(page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_command_or_a_flag_that_does_not_exist(page: Path) -> None:
    for text in commands(page):
        words = re.split(r"\s+[|<>&#]|;|\s--\s", text)[0].split()[1:]
        command: click.Command = cli
        context = click.Context(cli)
        while isinstance(command, click.Group) and words and WORD.fullmatch(words[0]):
            found = command.get_command(context, words[0])
            assert found is not None, f"no such command: {text}"
            command = found
            words = words[1:]
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        known |= server_flags() if command.name == "serve" else set()
        flags = {re.split(r"[=\]|`,]", word)[0].lstrip("[(") for word in words if "--" in word[:3]}
        assert flags <= known, f"{text}: no flags {sorted(flags - known)}"


def server_flags() -> set[str]:
    from sealserve.serving.flags import ACCEPTED, Flags

    names = {field.name for field in dataclasses.fields(Flags)} | set(ACCEPTED)
    return {f"--{name}" for name in names} | {f"--{name.replace('_', '-')}" for name in names}


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(prose(page))
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    for name, anchor in LINK.findall(prose(page)):
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"
