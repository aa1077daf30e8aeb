"""`sealserve collateral fetch`: from a source to a folder, a file or the cache, verified first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from sealserve.cli import collateral_facts as facts
from sealserve.cli.collateral_options import (
    ca_file_option,
    cache_option,
    parse_fmspc,
    read_root,
    subscription_key_option,
    trust_root_option,
)
from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.verification import read_evidence
from sealserve.collateral.checks import check_is_for
from sealserve.collateral.disk import CacheFolder, default_folder
from sealserve.collateral.examination import Examination, examine
from sealserve.collateral.key import CollateralKey
from sealserve.collateral.shared import SharedCollateral
from sealserve.collateral.source import CollateralSource, parse_source
from sealserve.endorsements.collateral import Collateral, PckCa, Tee
from sealserve.endorsements.pccs import Update
from sealserve.errors import CollateralError, UsageError
from sealserve.evidence.ratls import RatlsEvidence
from sealserve.files import PUBLIC, write_file
from sealserve.verifier import Platform, TrustRoot, platform_of, verify_collateral

_NO_AGE = timedelta(0)  # whoever asks for it wants it now


@click.command()
@click.argument("quote", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--from",
    "place",
    required=True,
    metavar="SOURCE",
    help="A URL, a service by its name, a folder or a file.",
)
@click.option("--fmspc", metavar="HEX", help="In place of QUOTE: which kind of platform.")
@click.option("--tee", type=click.Choice(["SGX", "TDX"]), help="With --fmspc.  [default: SGX]")
@click.option(
    "--ca",
    type=click.Choice(["platform", "processor"]),
    help="With --fmspc: who issues the PCK certificates.  [default: platform]",
)
@click.option(
    "--update",
    type=click.Choice(["standard", "early"]),
    default="standard",
    show_default=True,
    help="Which edition of Intel's TCB data.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR|FILE",
    help="Write to this folder, or to this file (.json), and not to the cache.",
)
@cache_option
@ca_file_option
@subscription_key_option
@trust_root_option
@json_option
def fetch(
    quote: Path | None,
    place: str,
    fmspc: str | None,
    tee: Tee | None,
    ca: PckCa | None,
    update: Update,
    out: Path | None,
    cache: Path | None,
    ca_file: Path | None,
    subscription_key_file: Path | None,
    trust_root: Path | None,
    as_json: bool,
) -> None:
    """Fetch the collateral of QUOTE's platform, or of the kind of platform that --fmspc names.

    It is verified before it is written, to the cache or to --out. QUOTE may be an RA-TLS
    certificate; the PCK certificate in it says which platform it is of, and must stand under the
    trust root.

    \b
    Example:
      sealserve collateral fetch quote.bin --from intel
      sealserve collateral fetch --fmspc 00606a000000 --from intel --update early
      sealserve collateral fetch quote.bin --from https://pccs.example.com:8081 --out collateral/
    """
    now, root = datetime.now(UTC), read_root(trust_root)
    if out is not None and cache is not None:
        raise UsageError("--out and --cache name two places", hint="name one")
    platform = _platform(quote, fmspc, tee, ca, root, now)
    source = parse_source(
        place, update=update, ca_file=ca_file, subscription_key_file=subscription_key_file
    )
    for remark in source.remarks:
        note(f"{source.name}: {remark}")
    if out is None:
        where = cache or default_folder()
        found = _to_cache(where, source, platform, root, update)
    else:
        where, found = out, _to_file(out, source, platform, root)
    report = {"written_to": str(where), **facts.of_examination(found)}
    if as_json:
        print_json(report)
    else:
        facts.print_collateral(f"fetched from {source.name}", report)


def _platform(
    quote: Path | None,
    fmspc: str | None,
    tee: Tee | None,
    ca: PckCa | None,
    root: TrustRoot,
    now: datetime,
) -> Platform:
    """From the quote's verified certificate, or as it was named."""
    if (quote is None) == (fmspc is None):
        raise UsageError("name the platform once: by QUOTE or by --fmspc")
    if quote is not None:
        if tee is not None or ca is not None:
            raise UsageError("--tee and --ca belong to --fmspc: QUOTE says both itself")
        evidence = read_evidence(quote)
        data = evidence.quote if isinstance(evidence, RatlsEvidence) else evidence
        return platform_of(data, root, now)
    return Platform(tee or "SGX", parse_fmspc(fmspc or ""), ca or "platform")


def _to_cache(
    path: Path, source: CollateralSource, platform: Platform, root: TrustRoot, update: Update
) -> Examination:
    folder = CacheFolder(path, root.sha256)
    folder.make()
    shared = SharedCollateral(source, root, folder, update=update, max_age=_NO_AGE)
    shared.fetch(platform, datetime.now(UTC))
    entry = folder.read(CollateralKey.of(platform, update))
    if entry is None:
        raise CollateralError(f"the collateral was fetched, and {folder.path} does not keep it")
    return examine(entry.collateral, root, datetime.now(UTC))


def _to_file(
    path: Path, source: CollateralSource, platform: Platform, root: TrustRoot
) -> Examination:
    fetched = source.collateral(platform)
    now = datetime.now(UTC)
    check_is_for(platform, verify_collateral(fetched, root, now))
    try:
        _write(path, fetched)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return examine(fetched, root, now)


def _write(path: Path, fetched: Collateral) -> None:
    """As one file where the name says so, as a folder otherwise; nothing in it is secret."""
    if path.suffix == ".json" and not path.is_dir():
        write_file(path, fetched.to_json(), mode=PUBLIC)
        return
    path.mkdir(parents=True, exist_ok=True)
    for name, data in fetched.to_files().items():
        write_file(path / name, data, mode=PUBLIC)
