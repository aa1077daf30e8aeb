"""`sealserve lab vectors` and `check-vectors`: conformance vectors, for us and for others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealserve.cli.output import json_option, note, print_json, print_table
from sealserve.errors import RejectedError

# The cases are loaded by the commands: enclaves load this module, too, and need none of them.
if TYPE_CHECKING:
    from sealserve.lab.vectors.replaying import Replayed

_SHOWN = 20  # disagreements; more of them have one cause


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="A new folder."
)
@click.option(
    "--form",
    "forms",
    multiple=True,
    metavar="FORM",
    help="Only this form of quote, such as sgx-v3 or tdx-v4; may be given again.",
)
@json_option
def vectors(out: Path, forms: Sequence[str], as_json: bool) -> None:
    """Write SIMULATED conformance vectors for verifiers of SGX and TDX quotes to DIR.

    Genuine evidence and the same with one thing changed each, with the verdict that a verifier
    should come to: a folder for each, and a README that says how to use them. No private key is
    written. DIR must not hold anything yet.

    \b
    Example:
      sealserve lab vectors --out vectors
      sealserve lab check-vectors vectors
    """
    from sealserve.lab.vectors.case import Rejected
    from sealserve.lab.vectors.catalogue import FORMS, all_cases
    from sealserve.lab.vectors.publishing import publish

    cases = all_cases(forms or FORMS)
    publish(cases, out)
    rejected = sum(isinstance(case.expected, Rejected) for case in cases)
    facts = {
        "simulated": True,
        "folder": str(out),
        "vectors": len(cases),
        "accept": len(cases) - rejected,
        "reject": rejected,
    }
    if as_json:
        print_json(facts)
    else:
        print_table("SIMULATED conformance vectors", list(facts.items()))


@click.command(name="check-vectors")
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@json_option
def check_vectors(directory: Path, as_json: bool) -> None:
    """Run our verifier over the SIMULATED conformance vectors in DIR, and compare the verdicts.

    Both forms of collateral are read: a file for each part, and all in one. The exit code is 2 if
    any verdict differs from its manifest.

    \b
    Example:
      sealserve lab check-vectors vectors
    """
    from sealserve.lab.vectors.replaying import replay

    replayed = list(replay(directory))
    differing = [each for each in replayed if not each.agrees]
    facts = {"vectors": len(replayed), "agree": len(replayed) - len(differing)}
    if as_json:
        print_json({**facts, "differ": [each.id for each in differing]})
    else:
        print_table("verdicts", list(facts.items()))
        for each in differing[:_SHOWN]:
            note(_explain(each))
    if differing:
        note("the vectors are of another version of SealServe, or a check has changed")
        raise click.exceptions.Exit(RejectedError.exit_code)


def _explain(replayed: Replayed) -> str:
    found = replayed.found if replayed.found != replayed.expected else replayed.found_in_one_file
    return f"{replayed.id}: expected {replayed.expected}, found {found}"
