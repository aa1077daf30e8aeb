"""Collateral as a folder's files and as one file."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from sealserve.endorsements.collateral import (
    FILE_NAMES,
    ONE_FILE_LIMIT,
    PART_LIMIT,
    Collateral,
)
from sealserve.errors import CollateralError, FormatError
from sealserve.lab.world import World

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def collateral() -> Collateral:
    return World.create(now=NOW).collateral()


def one_file(collateral: Collateral) -> dict[str, str]:
    """The one-file form: inner statements and signatures apart, CRLs in hex."""
    members = {}
    for part, name in (("tcb_info", "tcbInfo"), ("qe_identity", "enclaveIdentity")):
        body = getattr(collateral, part).decode()
        statement, _, signature = body.rpartition(',"signature":"')
        members[part] = statement.removeprefix(f'{{"{name}":')
        members[f"{part}_signature"] = signature.removesuffix('"}')
        members[f"{part}_issuer_chain"] = getattr(collateral, f"{part}_issuer_chain").decode()
    members["pck_crl_issuer_chain"] = collateral.pck_crl_issuer_chain.decode()
    members["pck_crl"] = collateral.pck_crl.hex()
    members["root_ca_crl"] = collateral.root_ca_crl.hex()
    return members


def test_every_part_has_its_file() -> None:
    assert list(FILE_NAMES) == [field.name for field in fields(Collateral)]


def test_a_folder_is_read_back(collateral: Collateral) -> None:
    files = collateral.to_files() | {"README": b"not collateral"}
    assert Collateral.from_files(files) == collateral


def test_crls_may_be_hex_in_a_folder(collateral: Collateral) -> None:
    files = collateral.to_files() | {"pck.crl": collateral.pck_crl.hex().encode()}
    assert Collateral.from_files(files) == collateral


def test_the_one_file_form_is_written_as_it_is_read(collateral: Collateral) -> None:
    assert json.loads(collateral.to_json()) == one_file(collateral)
    assert Collateral.from_json(collateral.to_json()) == collateral


def test_what_is_no_statement_is_not_written(collateral: Collateral) -> None:
    with pytest.raises(FormatError, match="tcbInfo"):
        replace(collateral, tcb_info=b"{}").to_json()


@pytest.mark.parametrize("name", FILE_NAMES.values())
def test_a_file_that_is_not_there_is_named(collateral: Collateral, name: str) -> None:
    files = collateral.to_files()
    del files[name]
    with pytest.raises(CollateralError, match=name):
        Collateral.from_files(files)


def test_the_one_file_form_gives_the_bytes_that_were_signed(collateral: Collateral) -> None:
    assert Collateral.from_json(json.dumps(one_file(collateral))) == collateral


@pytest.mark.parametrize("name", ["tcb_info", "qe_identity_signature", "pck_crl"])
def test_a_member_that_is_not_there_is_named(collateral: Collateral, name: str) -> None:
    members = one_file(collateral)
    del members[name]
    with pytest.raises(CollateralError, match=name):
        Collateral.from_json(json.dumps(members))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="list"),
        pytest.param('{"tcb_info": 1}', id="number"),
        pytest.param("[" * 100000, id="deep"),
        pytest.param(" " * (ONE_FILE_LIMIT + 1), id="too-large"),
        pytest.param(b"\xff", id="not-utf8"),
        pytest.param("\ud800", id="half-a-surrogate-pair"),
        pytest.param("[" + "[]," * 20000 + "0]", id="too-many-arrays"),
    ],
)
def test_what_is_no_such_object_is_refused(text: str | bytes) -> None:
    with pytest.raises((FormatError, CollateralError)):
        Collateral.from_json(text)


def test_a_part_that_holds_half_a_surrogate_pair_is_refused(collateral: Collateral) -> None:
    members = one_file(collateral) | {"tcb_info_issuer_chain": "\ud800"}
    with pytest.raises(FormatError, match="tcb_info_issuer_chain"):
        Collateral.from_json(json.dumps(members))


def test_a_part_that_is_too_large_is_refused(collateral: Collateral) -> None:
    with pytest.raises(FormatError, match="tcb_info"):
        replace(collateral, tcb_info=bytes(PART_LIMIT + 1))
