"""The admin API's page has every endpoint, and what it says of them is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from sealserve.keyservice.api import openapi_document
from sealserve.keyservice.api.answering import _BY_CODE as STATUSES
from sealserve.keyservice.config import Admin

PAGE = (Path(__file__).parents[3] / "docs" / "admin-api.md").read_text()
ROW = re.compile(r"^\| (GET|POST|PUT|DELETE) \| `([^`]+)` \| `([^`]+)` \| ([^|]+) \|(.*)\|$", re.M)


def test_the_table_is_the_document() -> None:
    described = [
        (method.upper(), path, operation["operationId"], ", ".join(operation["x-roles"]))
        for path, methods in openapi_document()["paths"].items()
        for method, operation in methods.items()
    ]
    assert sorted(described) == sorted(row[:4] for row in ROW.findall(PAGE))


def test_parameters_and_keys_of_bodies_are_named() -> None:
    document = openapi_document()
    for method, path, _, _, text in ROW.findall(PAGE):
        operation = document["paths"][path][method.lower()]
        named = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            named += document["components"]["schemas"][schema.rpartition("/")[2]]["properties"]
        for name in named:
            assert f"`{name}`" in text or f"`?{name}=`" in text, f"{path}: {name}"


def test_the_example_is_the_table_of_a_configuration(tmp_path: Path) -> None:
    example = re.search(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S)
    assert example is not None
    admin = Admin.model_validate(tomllib.loads(example[1])["admin"], context=tmp_path)
    assert admin.roles.operator == ("oscar.example.com",)


def test_codes_stand_in_the_row_of_their_status() -> None:
    for code, status in STATUSES.items():
        row = re.search(rf"^\| {int(status)} \| (.*) \|$", PAGE, re.M)
        assert row is not None
        assert f"`{code}`" in row[1]
