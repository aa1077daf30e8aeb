"""`sealserve deploy`: the one description of a service: make it, check it, say what it may hold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sealserve.cli.output import json_option, print_json
from sealserve.cli.policy_files import counts, print_findings
from sealserve.deploy.description.model import Description
from sealserve.deploy.description.reading import check_description, read_text
from sealserve.deploy.description.writing import Answers, describe
from sealserve.errors import ConfigError, UsageError
from sealserve.files import PUBLIC, write_file

_QUESTIONS = {
    "cluster": "name of the service",
    "domain": "host name that clients connect to",
    "cloud": "cloud (generic: none of the known ones)",
    "replicas": "replicas",
    "model": "name of the model",
    "base_path": "folder of its versions, as it is sealed",
    "key": "name of the secret that it is sealed with",
    "size": "what a version's files take",
    "kind": "server: tensorflow-serving, or sealserve",
    "tls": "TLS: oneway, or mutual",
    "key_service": "address of the key service",
    "gramine": "version of Gramine",
}
_SUGGESTED = Answers()


@click.group()
def deploy() -> None:
    """Describe a service in one file, from which all that runs it is rendered.

    \b
    Example:
      sealserve deploy init
      sealserve deploy check sealserve.toml
    """


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _answer_options(command: Any) -> Any:
    for name, question in reversed(_QUESTIONS.items()):
        command = click.option(
            _option(name),
            name,
            type=type(getattr(_SUGGESTED, name)),
            help=f"{question[:1].upper()}{question[1:]}.  [suggested: {getattr(_SUGGESTED, name)}]",
        )(command)
    return command


@deploy.command()
@_answer_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("sealserve.toml"),
    show_default=True,
    help="The file to write; it must not exist.",
)
@click.option("--yes", is_flag=True, help="Ask nothing: take what is suggested.")
@json_option
def init(out: Path, yes: bool, as_json: bool, **given: Any) -> None:
    """Write a description, with comments; asks for what no option says.

    \b
    Example:
      sealserve deploy init
      sealserve deploy init --yes --model digits --key-service keys.example.com:4433
    """
    missing = [] if yes else [name for name in _QUESTIONS if given[name] is None]
    said = {name: value for name, value in given.items() if value is not None}
    for number, name in enumerate(missing):
        said[name] = _ask(name, missing[number:])
    answers = replace(_SUGGESTED, **said)
    text = describe(answers)
    write_file(out, text.encode(), mode=PUBLIC, replace=False)
    description = check_description(text).description
    digest = description.digest if description else None
    if as_json:
        print_json({"file": str(out), "description_sha256": digest})
        return
    click.echo(f"{out}: written, description sha256 {digest}")


def _ask(name: str, missing: Sequence[str]) -> Any:
    """What a person types, or the next line of what stands in for one."""
    suggested = getattr(_SUGGESTED, name)
    if sys.stdin.isatty():
        return click.prompt(_QUESTIONS[name], default=suggested, err=True)
    try:
        return click.prompt("", default=suggested, show_default=False, prompt_suffix="", err=True)
    except click.Abort:
        unanswered = ", ".join(map(_option, missing))
        raise UsageError(
            f"nobody is at a terminal to answer, and no option says {unanswered}",
            hint="give these options, or --yes, which takes what is suggested for the rest",
        ) from None


@deploy.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@json_option
@click.pass_context
def check(context: click.Context, file: Path, strict: bool, as_json: bool) -> None:
    """Check the description FILE: each finding has its line, and what to write instead.

    The exit code is 1 when it has errors.

    \b
    Example:
      sealserve deploy check sealserve.toml
    """
    checked = check_description(read_text(file))
    number = counts(checked.findings)
    digest = checked.description.digest if checked.description else None
    if as_json:
        findings = [each.as_dict() for each in checked.findings]
        valid = digest is not None
        print_json({"valid": valid, "description_sha256": digest, **number, "findings": findings})
    else:
        print_findings(file, checked.findings)
        state = f"is valid, description sha256 {digest}" if digest else "is not valid"
        click.echo(f"{file} {state}: errors {number['errors']}, warnings {number['warnings']}")
    if digest is None or (strict and number["warnings"]):
        context.exit(ConfigError.exit_code)


@deploy.command()
def schema() -> None:
    """Print the JSON Schema of descriptions, for editors; `check` knows more than it.

    \b
    Example:
      sealserve deploy schema
    """
    print_json(Description.model_json_schema())
