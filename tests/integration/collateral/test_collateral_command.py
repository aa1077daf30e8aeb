"""`sealserve collateral`: fetch from a real service, show, foresee."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sealserve.attester.ratls import make_certificate
from sealserve.cli import main
from sealserve.collateral.disk import CacheFolder
from sealserve.collateral.key import CollateralKey
from sealserve.collateral.sightings import Sightings
from sealserve.endorsements.collateral import FILE_NAMES, Collateral
from sealserve.lab.authorities import FMSPC
from sealserve.lab.faults import Faults
from sealserve.verifier import load_trust_root, verify

KEY = CollateralKey("SGX", FMSPC, "platform", "standard")
POLICY = """
version = 2
trust_root = "{root}"
[[identities]]
name = "server"
mr_enclave = ["{measurement}"]
[[rules]]
name = "digits"
identities = ["server"]
secret = "digits"
"""


@pytest.fixture
def place(tmp_path, world, enclave, monkeypatch):
    """A working folder with a quote and the world's root, and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    quote = enclave.quote(bytes(64))
    (tmp_path / "quote.bin").write_bytes(quote)
    (tmp_path / "root.pem").write_bytes(world.root_ca_pem)
    root = load_trust_root(world.root_ca_pem)
    measurement = verify(
        quote, world.collateral(), trust_root=root, now=datetime.now(UTC)
    ).target.mr_enclave
    (tmp_path / "policy.toml").write_text(
        POLICY.format(root=root.sha256.hex(), measurement=measurement.hex())
    )
    return tmp_path


@pytest.fixture
def run(place, capsys):
    """Exit code, and what was printed: standard output (JSON where it was asked for) and errors."""

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["collateral", *map(str, arguments)])
        printed = capsys.readouterr()
        out = json.loads(printed.out) if "--json" in arguments else printed.out
        return caught.value.code or 0, out, printed.err

    return run


@pytest.fixture
def fetch(run, pccs):
    return lambda *arguments: run(
        "fetch", "--from", pccs.url, "--trust-root", "root.pem", *arguments
    )


class TestForget:
    ARGUMENTS = ("--fmspc", FMSPC.hex(), "--cache", "cache")

    @pytest.fixture
    def misled(self, fetch, pccs):
        """The cache after a service answered early data as standard, and then no more."""
        pccs.edition = "early"
        assert fetch(*self.ARGUMENTS)[0] == 0
        pccs.edition = None
        code, _, told = fetch(*self.ARGUMENTS)
        assert code == 2
        assert "COLLATERAL_ROLLBACK" in told

    def test_one_kind_of_platform_is_given_up_and_standard_data_is_taken(self, run, fetch, misled):
        code, report, _ = run("forget", *self.ARGUMENTS, "--trust-root", "root.pem", "--json")
        assert code == 0
        assert report == {
            "cache": "cache",
            "entries": [KEY.name],
            "tcb_info_number_forgotten": 18,
            "qe_identity_number_forgotten": 18,
            "qe_identity_number_left": None,
        }
        code, report, _ = fetch(*self.ARGUMENTS, "--json")
        assert (code, report["tcb_info_evaluation_data_number"]) == (0, 17)

    @pytest.mark.parametrize("other", [("--tee", "TDX"), ("--update", "early")], ids=" ".join)
    def test_another_tee_or_edition_is_not_given_up(self, run, fetch, misled, other):
        code, _, told = run("forget", *self.ARGUMENTS, "--trust-root", "root.pem", *other)
        assert code == 0
        assert "no numbers were remembered" in told
        assert fetch(*self.ARGUMENTS)[0] == 2

    @pytest.mark.parametrize(
        ("arguments", "found"),
        [
            (("--fmspc", "00606a", "--cache", "cache", "--trust-root", "root.pem"), "12 hex"),
            (("--fmspc", FMSPC.hex(), "--cache", "cache"), "trust root"),
            (("--fmspc", FMSPC.hex(), "--cache", "none", "--trust-root", "root.pem"), "nothing"),
        ],
        ids=["no FMSPC", "another root", "no cache"],
    )
    def test_what_is_not_there_is_told(self, run, misled, arguments, found):
        code, _, told = run("forget", *arguments)
        assert code == 1
        assert found in told


class TestFetch:
    def test_a_quote_says_which_platform_and_the_cache_has_it(self, fetch, place, pccs, world):
        code, report, _ = fetch("quote.bin", "--json")
        assert (code, report["verified"], report["fmspc"]) == (0, True, FMSPC.hex())
        root = load_trust_root(world.root_ca_pem)
        cache = CacheFolder(place / "xdg" / "sealserve" / "collateral", root.sha256)
        assert cache.read(KEY).collateral == world.collateral()

    def test_a_certificate_says_so_too(self, fetch, place, enclave):
        (place / "ratls.der").write_bytes(make_certificate(enclave).certificate_der)
        code, report, _ = fetch("ratls.der", "--json")
        assert (code, report["fmspc"]) == (0, FMSPC.hex())

    def test_a_folder_is_written_as_it_is_read(self, fetch, place, world):
        code, _, _ = fetch("quote.bin", "--out", "collateral")
        assert code == 0
        files = {name: (place / "collateral" / name).read_bytes() for name in FILE_NAMES.values()}
        assert Collateral.from_files(files) == world.collateral()

    def test_one_file_is_written_as_it_is_read(self, fetch, place, world):
        code, _, _ = fetch("--fmspc", FMSPC.hex(), "--out", "collateral.json")
        assert code == 0
        text = (place / "collateral.json").read_bytes()
        assert Collateral.from_json(text) == world.collateral()

    def test_trust_domains_and_early_data_are_asked_for_by_name(self, fetch, pccs):
        code, report, _ = fetch(
            "--fmspc", FMSPC.hex(), "--tee", "TDX", "--update", "early", "--json"
        )
        assert (code, report["tee"]) == (0, "TDX")
        assert report["tcb_info_evaluation_data_number"] == 18

    def test_it_is_fetched_though_the_cache_has_it(self, fetch, pccs):
        for _ in range(2):
            fetch("quote.bin")
        assert pccs.asked.count("tcb") == 2

    def test_what_does_not_verify_is_written_nowhere(self, fetch, place, pccs):
        pccs.misissue(Faults.EXPIRED_CRLS)
        for where in (("--out", "out"), ("--cache", "cache")):
            code, error, _ = fetch("quote.bin", "--json", *where)
            assert (code, error["error"]["code"]) == (2, "CRL_VALIDITY")
        assert not (place / "out").exists()
        assert not list((place / "cache").rglob("*.json"))

    def test_what_was_rolled_back_is_not_cached(self, fetch, place, pccs):
        pccs.edition = "early"
        assert fetch("quote.bin")[0] == 0
        pccs.edition = "standard"
        code, error, _ = fetch("quote.bin", "--json")
        assert (code, error["error"]["code"]) == (2, "COLLATERAL_ROLLBACK")

    def test_collateral_of_another_platform_is_none(self, fetch, pccs):
        pccs.misissue(Faults.WRONG_FMSPC)
        code, error, _ = fetch("quote.bin", "--out", "out", "--json")
        assert (code, error["error"]["code"]) == (2, "TCB_INFO_MISMATCH")

    def test_a_quote_of_another_root_is_asked_about_nowhere(self, run, place, pccs):
        code, error, _ = run("fetch", "quote.bin", "--from", pccs.url, "--json")
        assert (code, error["error"]["code"]) == (2, "PCK_CHAIN")
        assert pccs.asked == []

    def test_a_service_that_is_down_is_code_3(self, fetch, pccs):
        pccs.stop()
        code, _, error = fetch("quote.bin")
        assert code == 3
        assert "cannot reach" in error

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            pytest.param([], "name the platform once", id="no platform"),
            pytest.param(
                ["quote.bin", "--fmspc", "00606a000000"], "name the platform once", id="two"
            ),
            pytest.param(["quote.bin", "--tee", "TDX"], "QUOTE says both", id="a TEE for a quote"),
            pytest.param(["--fmspc", "00606a"], "12 hex digits", id="a short FMSPC"),
            pytest.param(
                ["quote.bin", "--out", "x", "--cache", "y"], "two places", id="two places"
            ),
        ],
    )
    def test_what_is_contradictory_is_a_usage_error(self, fetch, pccs, arguments, told):
        code, _, error = fetch(*arguments)
        assert code == 1
        assert told in error
        assert pccs.asked == []


class TestShow:
    def test_a_folder_is_shown_with_its_dates_numbers_and_levels(self, fetch, run):
        fetch("quote.bin", "--out", "collateral")
        code, report, _ = run("show", "collateral", "--trust-root", "root.pem", "--json")
        (found,) = report["collateral"]
        assert (code, found["verified"], found["simulated"]) == (0, True, True)
        assert found["tcb_info_evaluation_data_number"] == 17
        assert [level["status"] for level in found["tcb_levels"]][:2] == [
            "UpToDate", "SWHardeningNeeded",
        ]  # fmt: skip
        ends = [part["valid_until"] for part in found["parts"]]
        assert ends == sorted(ends)
        assert len(found["parts"]) == 7

    def test_what_does_not_verify_is_shown_and_says_so(self, fetch, run):
        fetch("quote.bin", "--out", "collateral.json")
        code, report, _ = run("show", "collateral.json", "--json")  # under Intel's root
        (found,) = report["collateral"]
        assert (code, found["verified"], found["code"]) == (2, False, "CRL_MISSING")
        assert found["tcb_levels"]

    def test_a_cache_is_verified_under_the_root_it_was_kept_for(self, fetch, run, world):
        fetch("quote.bin")
        code, report, _ = run("show", "cache", "--json")
        (found,) = report["collateral"]
        assert (code, found["verified"], found["key"]) == (0, True, KEY.name)
        assert found["trust_root_sha256"] == load_trust_root(world.root_ca_pem).sha256.hex()
        assert found["highest_tcb_info_number_seen"] == 17

    def test_at_another_time_it_has_expired(self, fetch, run):
        fetch("quote.bin", "--cache", "cache")
        later = (datetime.now(UTC) + timedelta(days=31)).isoformat()
        code, report, _ = run("show", "./cache", "--at", later, "--json")
        assert (code, report["collateral"][0]["code"]) == (2, "CRL_VALIDITY")

    def test_a_damaged_entry_is_named(self, fetch, run, place):
        fetch("quote.bin")
        (entry,) = (place / "xdg").rglob("SGX-*.json")
        entry.write_text("{")
        code, report, _ = run("show", "cache", "--json")
        assert (code, report["damaged"], report["collateral"]) == (0, [KEY.name], [])

    def test_it_reads_for_people_too(self, fetch, run):
        fetch("quote.bin")
        code, text, remarks = run("show", "cache")
        assert code == 0
        for word in ("SIMULATED", KEY.name, "what ends first", "SWHardeningNeeded"):
            assert word in text
        assert "1 entries" in remarks

    def test_what_is_not_there_is_code_3(self, run, place):
        (place / "empty").mkdir()
        assert run("show", "empty")[0] == 3
        assert run("show", "nowhere")[0] == 3


class TestForecast:
    @pytest.fixture
    def seen(self, fetch, place, world):
        """The platform of the quote, as a key service notes it."""
        fetch("quote.bin")
        root = load_trust_root(world.root_ca_pem)
        quote = (place / "quote.bin").read_bytes()
        claims = verify(quote, world.collateral(), trust_root=root, now=datetime.now(UTC))
        folder = place / "xdg" / "sealserve" / "collateral" / root.sha256.hex()
        Sightings(folder).saw(quote, claims)

    def test_early_data_in_the_cache_says_what_is_coming(self, seen, fetch, run):
        fetch("quote.bin", "--update", "early")
        code, report, _ = run("forecast", "--policy", "policy.toml", "--json")
        assert code == 0
        (early,) = [each for each in report["refusals"] if each["reason"] == "early-tcb-data"]
        assert (early["code"], early["rules"]) == ("policy.tcb-status", ["digits"])
        (platform,) = report["platforms"]
        assert (platform["tcb_status"], platform["early_tcb_status"]) == ("UpToDate", "OutOfDate")
        assert report["notes"] == []

    def test_early_data_may_be_asked_for(self, seen, run, pccs):
        code, report, _ = run("forecast", "--policy", "policy.toml", "--early", pccs.url, "--json")
        assert code == 0
        assert "early-tcb-data" in {each["reason"] for each in report["refusals"]}

    def test_without_early_data_that_is_said(self, seen, run, pccs):
        _, report, _ = run("forecast", "--policy", "policy.toml", "--json")
        assert {each["reason"] for each in report["refusals"]} == {
            "collateral-expiry", "certificate-expiry",
        }  # fmt: skip
        (remark,) = report["notes"]
        assert "--update early" in remark
        pccs.spoil_only("tcb", lambda answer: replace(answer, status=404))
        code, report, _ = run("forecast", "--policy", "policy.toml", "--early", pccs.url, "--json")
        assert code == 0
        assert "nothing for this platform" in report["notes"][0]

    def test_a_platform_without_collateral_is_named(self, seen, run, place):
        (entry,) = (place / "xdg").rglob("SGX-*.json")
        entry.unlink()
        _, report, _ = run("forecast", "--policy", "policy.toml", "--json")
        assert report["refusals"] == []
        assert any("no collateral is cached for SGX" in remark for remark in report["notes"])

    def test_it_reads_for_people_too(self, seen, fetch, run):
        fetch("quote.bin", "--update", "early")
        code, text, _ = run("forecast", "--policy", "policy.toml")
        assert code == 0
        for word in ("refused from", "early-tcb-data", "platforms seen", "(rules: digits)"):
            assert word in text

    def test_a_policy_for_intel_finds_nothing_of_the_lab(self, seen, run, place):
        text = (place / "policy.toml").read_text()
        (place / "intel.toml").write_text(
            "\n".join(row for row in text.splitlines() if "trust_root" not in row)
        )
        code, text, remarks = run("forecast", "--policy", "intel.toml")
        assert (code, text.strip()) == (0, "no refusal is foreseen")
        assert "no collateral under the trust root" in remarks
