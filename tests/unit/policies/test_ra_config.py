"""The published list of enclaves: read by the letter, and every fault of its server an error."""

from __future__ import annotations

import json

import pytest

from sealserve.errors import ConfigError
from sealserve.policies.finding import Severity, errors
from sealserve.policies.insecure import Allowed, Lenience, read_start_script, tcb_statuses
from sealserve.policies.ra_config import parse_ra_config
from sealserve.verifier.claims import TcbStatus

ENCLAVE, SIGNER = "ab" * 32, "cd" * 32
FILE = f'''\
{{
    "verify_mr_enclave" : "on",
    "verify_mr_signer" : "on",
    "verify_isv_prod_id" : "on",
    "verify_isv_svn" : "on",
    "mrs": [
        {{
            "mr_enclave" : "{ENCLAVE}",
            "mr_signer" : "{SIGNER}",
            "isv_prod_id" : "0",
            "isv_svn" : "0"
        }}
    ]
}}
'''


def codes(text):
    _, findings = parse_ra_config(text)
    return [(each.line, each.code.removeprefix("ra-config.")) for each in errors(findings)]


def test_a_file_as_the_guide_writes_it_is_read():
    config, findings = parse_ra_config(FILE)
    assert findings == ()
    assert (config.off, config.allowed) == ((), ())
    (entry,) = config.entries
    assert (entry.line, entry.mr_enclave.hex(), entry.mr_signer.hex()) == (7, ENCLAVE, SIGNER)
    assert (entry.isv_prod_id, entry.isv_svn) == (0, 0)


def test_numbers_without_quotes_are_numbers_and_digits_may_be_upper_case():
    text = FILE.replace('"0"', "7").replace(ENCLAVE, ENCLAVE.upper())
    (entry,) = parse_ra_config(text)[0].entries
    assert (entry.mr_enclave.hex(), entry.isv_prod_id, entry.isv_svn) == (ENCLAVE, 7, 7)


def switch(value):
    return FILE.replace('"verify_mr_signer" : "on"', f'"verify_mr_signer" : {value}')


def svn(value):
    return FILE.replace('"isv_svn" : "0"', f'"isv_svn" : {value}')


def enclave(value):
    return FILE.replace(f'"{ENCLAVE}"', value)


FAULTS = {
    "a switch in upper case": (switch('"ON"'), [(3, "switch")]),
    "a switch that is a Boolean": (switch("true"), [(3, "switch")]),
    "a switch that is a number": (switch("1"), [(3, "switch")]),
    "a switch that is empty, which their server takes for on": (switch('""'), [(3, "switch")]),
    "a switch that only begins with on": (switch('"only"'), [(3, "switch")]),
    "a switch with a space": (switch('"on "'), [(3, "switch")]),
    "a switch that is null": (switch("null"), [(3, "switch")]),
    "a switch that is a list": (switch('["on"]'), [(3, "switch")]),
    "every check off": (FILE.replace('"on"', '"off"'), [(2, "all-off")]),
    "hex that is short": (enclave('"abcd"'), [(8, "hex")]),
    "hex that is long": (enclave(f'"{ENCLAVE}ab"'), [(8, "hex")]),
    "hex with another letter": (enclave(f'"{ENCLAVE[:-1]}g"'), [(8, "hex")]),
    "hex with a prefix": (enclave(f'"0x{ENCLAVE[2:]}"'), [(8, "hex")]),
    "all zeros": (enclave('"' + "0" * 64 + '"'), [(8, "hex")]),
    "a wildcard": (enclave('"*"'), [(8, "hex")]),
    "no measurement": (enclave('""'), [(8, "hex")]),
    "a measurement that is null": (enclave("null"), [(8, "hex")]),
    "a measurement that is a number": (enclave("12"), [(8, "hex")]),
    "a number in quotes, which their server reads as 0": (svn('"3"'), [(11, "quoted-number")]),
    "zeros in quotes": (svn('"00"'), [(11, "quoted-number")]),
    "a negative number": (svn("-1"), [(11, "number")]),
    "a number that their server would truncate to 0": (svn("65536"), [(11, "number")]),
    "a number with a fraction": (svn("1.0"), [(11, "number")]),
    "a number that is a Boolean": (svn("true"), [(11, "number")]),
    "a number that is text": (svn('"one"'), [(11, "number")]),
    "a number in digits that are not ASCII": (svn('"\u0663"'), [(11, "number")]),
    "a number that is null": (svn("null"), [(11, "number")]),
    "a missing switch": (FILE.replace('    "verify_isv_svn" : "on",\n', ""), [(1, "missing-key")]),
    "a missing measurement": (
        FILE.replace(f'            "mr_signer" : "{SIGNER}",\n', ""),
        [(7, "missing-key")],
    ),
    "a missing list": ('{"verify_mr_enclave": "on"}', [(1, "missing-key")] * 4),
    "an unknown key": (FILE.replace('"mrs"', '"mr"'), [(1, "missing-key"), (6, "unknown-key")]),
    "a key in upper case": (
        FILE.replace('"isv_svn" :', '"ISV_SVN" :'),
        [(7, "missing-key"), (11, "unknown-key")],
    ),
    "a repeated switch": (
        FILE.replace("{\n    ", '{\n    "verify_isv_svn": "off",\n    ', 1),
        [(6, "repeated-key")],
    ),
    "a repeated measurement": (
        FILE.replace('"isv_prod_id"', f'"mr_enclave": "{SIGNER}",\n"isv_prod_id"'),
        [(10, "repeated-key")],
    ),
    "an empty list": (FILE[: FILE.index("[")] + "[]}", [(6, "mrs")]),
    "a list that is an object": (FILE[: FILE.index("[")] + "{}}", [(6, "mrs")]),
    "an entry that is text": (FILE[: FILE.index("[")] + '[\n"x"]}', [(7, "object")]),
    "a document that is a list": ("[]", [(1, "object")]),
    "an insecure switch": (switch('"on", "allow_debug_enclave": "ON"'), [(3, "switch")]),
    "an insecure switch that Gramine does not have": (
        switch('"on", "allow_everything": "off"'),
        [(3, "unknown-key")],
    ),
}


@pytest.mark.parametrize(("text", "found"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_an_error_with_its_line(text, found):
    assert sorted(codes(text)) == sorted(found)


def test_an_entry_with_a_fault_is_no_entry():
    assert parse_ra_config(svn('"3"'))[0].entries == ()


def test_every_fault_is_told_at_once():
    text = switch("true").replace(ENCLAVE, "*").replace('"0"', '"1"')
    assert codes(text) == [(3, "switch"), (8, "hex"), (10, "quoted-number"), (11, "quoted-number")]


def test_what_is_not_json_is_refused_with_its_line():
    with pytest.raises(ConfigError, match=r"ra_config\.json, line 3: expected a comma"):
        parse_ra_config(FILE.replace('"on",', '"on"', 1))


def many(count):
    entry = {"mr_signer": SIGNER, "isv_prod_id": 0, "isv_svn": 0}
    mrs = [{"mr_enclave": f"{n:064x}", **entry} for n in range(1, count + 1)]
    return json.dumps(json.loads(FILE) | {"mrs": mrs}, indent=1)


def test_entries_beyond_a_hundred_are_an_error_that_names_the_first():
    config, (error,) = parse_ra_config(many(103))
    assert (error.severity, error.code) == (Severity.ERROR, "ra-config.beyond-100")
    assert error.line == config.entries[100].line
    assert "this entry and 2 after it" in error.message
    assert parse_ra_config(many(100))[1] == ()


def test_an_enclave_that_is_there_twice_is_read_once():
    document = json.loads(FILE)
    text = json.dumps(document | {"mrs": document["mrs"] * 2}, indent=1)
    config, (warning,) = parse_ra_config(text)
    assert len(config.entries) == 1
    assert (warning.severity, warning.code) == (Severity.WARNING, "ra-config.repeated")


def test_checks_that_are_off_are_told_with_their_lines():
    off = parse_ra_config(switch('"off"'))[0].off
    assert [(member.key, member.line) for member in off] == [("verify_mr_signer", 3)]


@pytest.mark.parametrize("name", ["allow_outdated_tcb", "allow_outdated_tcb_insecure"])
def test_an_insecure_switch_is_read_by_either_name(name):
    text = FILE.replace('"mrs"', f'"{name}": "on",\n"mrs"')
    assert parse_ra_config(text)[0].allowed == (Allowed(6, Lenience.OUTDATED),)
    assert parse_ra_config(text.replace(f'{name}": "on"', f'{name}": "off"'))[0].allowed == ()


SCRIPT = """\
#!/bin/bash
# export RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE=1
export RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE=1
export RA_TLS_ALLOW_OUTDATED_TCB_INSECURE="1" RA_TLS_ALLOW_HW_CONFIG_NEEDED='1'
RA_TLS_ALLOW_SW_HARDENING_NEEDED=1; ./server_dcap wrap_key
"""


def test_a_start_script_tells_which_switches_it_turns_on():
    allowed, findings = read_start_script(SCRIPT, "start.sh")
    assert findings == ()
    assert [(each.line, each.lenience) for each in allowed] == [
        (3, Lenience.DEBUG),
        (4, Lenience.OUTDATED),
        (4, Lenience.CONFIGURATION),
        (5, Lenience.HARDENING),
    ]


@pytest.mark.parametrize("value", ["0", '""', "", "yes", "11"])
def test_what_gramine_takes_for_off_is_off(value):
    script = f"export RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE={value}"
    assert read_start_script(script, "start.sh") == ((), ())


@pytest.mark.parametrize(
    "line",
    [
        "export RA_TLS_ALLOW_HW_CONFIG_NEEDED",
        "export RA_TLS_ALLOW_HW_CONFIG_NEEDED=$LENIENT",
        'export RA_TLS_ALLOW_HW_CONFIG_NEEDED="$(cat lenient)"',
        "export RA_TLS_ALLOW_HW_CONFIG_NEEDED=`cat lenient`",
        "export RA_TLS_ALLOW_HW_CONFIG_NEEDED=\\1",
        "ENV RA_TLS_ALLOW_HW_CONFIG_NEEDED 1",
        "export RA_TLS_ALLOW_ANYTHING=1",
    ],
)
def test_a_switch_of_which_one_cannot_tell_is_an_error(line):
    allowed, (finding,) = read_start_script(f"set -e\n{line}\n", "start.sh")
    assert allowed == ()
    assert (finding.severity, finding.file, finding.line) == (Severity.ERROR, "start.sh", 2)


@pytest.mark.parametrize(
    ("on", "statuses"),
    [
        ([Lenience.DEBUG], []),
        ([Lenience.HARDENING], [TcbStatus.SW_HARDENING_NEEDED]),
        ([Lenience.OUTDATED], [TcbStatus.OUT_OF_DATE]),
        (
            [Lenience.OUTDATED, Lenience.CONFIGURATION],
            [
                TcbStatus.CONFIGURATION_NEEDED,
                TcbStatus.OUT_OF_DATE,
                TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
            ],
        ),
    ],
    ids=str,
)
def test_switches_stand_for_the_statuses_that_gramine_lets_pass(on, statuses):
    assert list(tcb_statuses(Allowed(1, each) for each in on)) == statuses
