"""docs/policy-reference.md: every key in its table and in an example, every code, the sentence."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from sealserve.appraisal import PolicyCode, parse_policy
from sealserve.appraisal.fields import LIST_LIMIT
from sealserve.appraisal.identities import SgxIdentity, TdxIdentity
from sealserve.appraisal.policy import (
    GRACE_LIMIT_HOURS,
    AzureAttestation,
    PlatformRules,
    Policy,
    PolicyException,
    Rule,
)
from sealserve.verifier.claims import TcbStatus

PAGE = (Path(__file__).parents[3] / "docs" / "policy-reference.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
TABLES: dict[str, type[BaseModel]] = {
    "The whole file": Policy,
    "`[[identities]]`: an SGX enclave": SgxIdentity,
    "`[[identities]]`: a TDX trust domain": TdxIdentity,
    "`[[rules]]`": Rule,
    "`[platform]`": PlatformRules,
    "`[[exceptions]]`": PolicyException,
    "`[maa]`": AzureAttestation,
}


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("title", TABLES)
def test_a_table_has_every_key_of_its_schema_and_no_other(title: str) -> None:
    table = section(title).partition("| --- | --- | --- | --- |")[2].partition("\n\n")[0]
    first_cells = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(first_cells)) == list(TABLES[title].model_fields)


@pytest.mark.parametrize("title", TABLES)
def test_a_key_without_which_a_table_is_wrong_is_said_to_be_required(title: str) -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| [^|]+ \| ([^|]+) \|", section(title), re.M)
    told = {key for keys, default in rows if default == "required" for key in keys.split(", ")}
    fields = TABLES[title].model_fields
    assert told == {f"`{name}`" for name, field in fields.items() if field.is_required()}


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_a_policy(text: str) -> None:
    assert parse_policy(text).version == 2


def test_every_key_is_in_an_example() -> None:
    shown = set()
    for table in map(tomllib.loads, EXAMPLES):
        shown |= table.keys()
        for part in table.values():
            for entry in part if isinstance(part, list) else [part]:
                shown |= entry.keys() if isinstance(entry, dict) else set()
    assert shown == {key for model in TABLES.values() for key in model.model_fields}


def test_every_code_has_its_cause_and_cure_in_the_order_in_which_conditions_are_judged() -> None:
    rows = re.findall(r"^\| `(policy\.[a-z0-9-]+)` \| ([^|]+)\|([^|]+)\|$", PAGE, re.MULTILINE)
    assert [code for code, _, _ in rows] == list(PolicyCode)
    for code, cause, cure in rows:
        assert cause.strip()
        assert cure.strip() or code == PolicyCode.ALLOWED


def test_the_sentence_is_the_one_at_the_top_of_the_code() -> None:
    sentence = "the first rule, in the order of the file, that has an identity for which every "
    sentence += "condition holds, by itself or by an exception in force, grants its secret; where "
    sentence += "there is none, nothing is granted."
    assert sentence in flat(PAGE)
    code = importlib.import_module("sealserve.appraisal.appraise").__doc__
    assert sentence in flat(str(code))


def test_statuses_and_limits_are_those_of_the_code() -> None:
    exceptions = section("`[[exceptions]]`")
    for status in TcbStatus:
        assert f"`{status}`" in exceptions
    assert f"1 to {GRACE_LIMIT_HOURS}" in exceptions
    assert f"at most {LIST_LIMIT} entries" in section("The whole file")
