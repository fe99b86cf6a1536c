"""The trust set says whose signatures count, and a file that could be misread is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streams.core import instants
from streams.core.charter import Signer
from streams.wire import keys
from streams.wire.trust import BACKDATED, TrustUnavailable, parse_trust, read_trust, rewritten, written
from tests.samples import DAY, NOON
from tests.signing import entry, key, trusting


def signers(*entries: dict[str, Any]) -> dict[str, Signer]:
    return {kid: k.signer for kid, k in trusting(*entries).keys.items()}


def held(name: str, holder: str, *scopes: str, **more: Any) -> dict[str, Any]:
    return entry(name, holder=holder, scopes=list(scopes), **more)


@pytest.mark.parametrize(
    ("entries", "on_behalf", "exact"),
    [
        ([held("a", "acme", "account/acme")], set(), {"acme"}),
        ([held("a", "acme", "account/acme", on_behalf=True)], {"a"}, set()),
        ([held("a", "ops", "account/*")], {"a"}, set()),
        ([held("a", "ops", "account/*", "account/acme")], {"a"}, set()),
        ([held("a", "ops", "service")], set(), set()),
        # a holder who approves service documents, or has every account, signs for single accounts on behalf only
        ([held("a", "ops", "service"), held("b", "ops", "account/acme")], {"b"}, set()),
        ([held("a", "ops", "account/*"), held("b", "ops", "account/acme")], {"a", "b"}, set()),
        ([held("a", "ops", "account/*"), held("b", "ops", "service")], {"a", "b"}, set()),
        # but a second service key does not undo the first, nor does an owner's own key
        ([held("a", "ops", "service"), held("b", "ops", "service")], set(), set()),
        # a key for both approves nothing
        ([held("a", "ops", "service", "account/acme")], {"a"}, set()),
        # others' keys change nothing
        ([held("a", "ops", "account/*"), held("b", "acme", "account/acme")], {"a"}, {"acme"}),
        ([held("a", "x", "account/a/b", "account/ü *")], set(), {"a/b", "ü *"}),
    ],
)
def test_ruling_30_says_which_keys_work_on_behalf(
    entries: list[dict[str, Any]], on_behalf: set[str], exact: set[str]
) -> None:
    found = trusting(*entries)
    assert {kid for kid, k in found.keys.items() if k.signer.on_behalf} == on_behalf
    assert found.exact_accounts() == exact


def test_a_revoked_key_holds_its_account_only_for_the_past() -> None:
    found = trusting(held("a", "acme", "account/acme", revoked="1970-01-01T00:00:10Z"))
    assert (found.exact_accounts(9_999), found.exact_accounts(10_000), found.exact_accounts()) == (
        {"acme"},
        frozenset(),
        frozenset(),
    )
    assert [key.revoked for key in found.announced()] == ["1970-01-01T00:00:10.000Z"]


def test_an_account_has_a_key_of_its_own_as_long_as_one_of_them_stands() -> None:
    found = trusting(
        held("a", "acme", "account/acme", revoked="1970-01-01T00:00:10Z"),
        held("b", "acme", "account/acme", revoked="1970-01-01T00:00:20Z"),
        held("c", "beta", "account/beta", "account/gamma"),
        held("d", "beta", "account/beta", revoked="1970-01-01T00:00:10Z"),
    )
    assert found.exact_accounts(19_999) == {"acme", "beta", "gamma"}
    assert found.exact_accounts(20_000) == found.exact_accounts() == {"beta", "gamma"}
    assert found.exact_accounts(19_999, of=["acme", "delta"]) == {"acme"}
    assert found.exact_accounts(of=["acme", "beta"]) == {"beta"}


def test_the_digest_names_what_counts() -> None:
    one, two = held("a", "acme", "account/acme", "account/b"), held("b", "ops", "service")
    digest = trusting(one, two).digest
    assert digest.startswith("sha256:")
    assert len(digest) == 71
    assert trusting(two, {**one, "scopes": ["account/b", "account/acme"], "alg": "EdDSA"}).digest == digest
    others = [
        trusting(one),
        trusting(one, {**two, "holder": "other"}),
        trusting({**one, "on_behalf": True}, two),
        trusting(held("c", "acme", "account/acme", "account/b"), two),
        trusting(one, {**two, "revoked": "2026-01-01T00:00:00Z"}),
        trusting(one, {**two, "x": key("c").key.as_dict(private=False)["x"]}),
    ]
    assert len({digest, *(other.digest for other in others)}) == len(others) + 1


def test_what_is_announced_of_a_key_is_no_key() -> None:
    (announced,) = trusting("settings").announced()
    assert (announced.kid, announced.holder, announced.scopes, announced.on_behalf) == (
        "settings",
        "settings-service",
        ["account/*"],
        True,
    )


RSA = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a", "holder": "a", "scopes": ["service"]}


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "is no JWK Set"),
        (b'{"keys": {}}', "is no JWK Set"),
        (b'{"keys": [], "more": 1}', "is no JWK Set"),
        (b'{"keys": [], "keys": []}', "the key 'keys' stands twice"),
        (b"[" * 10_000, "containers in one another"),
        ([1], "keys[0] is no JWK"),
        ([RSA], "has an unknown member 'e'"),
        ([entry("a", kty="OKP", crv="Ed448")], "keys[0] (a) is no Ed25519 key"),
        ([entry("a", crv="X25519")], "keys[0] (a) is no Ed25519 key"),
        ([entry("a", x="AAAA")], "keys[0] (a) has no readable public key"),
        ([entry("a", x=None)], "keys[0] (a) has no readable public key"),
        ([entry("a", x=1)], "keys[0] (a) has no readable public key"),
        ([{**entry("a"), "d": "AAAA"}], "keys[0] holds a private key"),
        ([entry("a", kid=None)], "keys[0] has no kid"),
        ([entry("a", kid="")], "keys[0] has no kid"),
        ([entry("a", kid="k" * 129)], "keys[0] has no kid"),
        ([entry("a"), entry("b", kid="a")], "keys[1] and keys[0] have the same kid 'a'"),
        ([entry("a"), entry("b", x=entry("a")["x"])], "keys[1] and keys[0] have the same public key"),
        ([entry("a", holder=None)], "keys[0] (a) has no holder"),
        ([entry("a", holder="a, b")], "holder with a comma"),
        ([entry("a", holder=" a")], "a space at an end"),
        ([entry("a", scopes=None)], "has no scopes"),
        ([entry("a", scopes=[])], "has no scopes"),
        ([entry("a", scopes="service")], "has no scopes"),
        ([entry("a", scopes=["account/"])], "has the scope 'account/'"),
        ([entry("a", scopes=["account"])], "has the scope 'account'"),
        ([entry("a", scopes=["*"])], "has the scope '*'"),
        ([entry("a", scopes=["Service"])], "has the scope 'Service'"),
        ([entry("a", scopes=["account/" + "a" * 129])], "has the scope"),
        ([entry("a", scopes=[1])], "has the scope 1"),
        ([entry("a", on_behalf="yes")], "neither true nor false"),
        ([entry("a", on_behlaf=True)], "keys[0] has an unknown member 'on_behlaf'"),
        ([entry("a", alg="ES256")], "keys[0] (a) has alg 'ES256'"),
        ([entry("a", use="enc")], "keys[0] (a) has use 'enc'"),
        ([entry("a", key_ops=["sign"])], "keys[0] (a) has key_ops ['sign']"),
        ([entry("a", revoked="yesterday")], "keys[0] (a) revoked: not an RFC 3339 time"),
    ],
)
def test_a_trust_set_that_could_be_misread_is_refused_in_one_line(
    data: bytes | list[Any], wanted: str, tmp_path: Path
) -> None:
    file = tmp_path / "trust.json"
    file.write_bytes(data if isinstance(data, bytes) else written(data))
    with pytest.raises(TrustUnavailable) as unavailable:
        read_trust(file)
    message = str(unavailable.value)
    assert message.startswith(f"trust set {file}")
    assert wanted in message
    assert "\n" not in message


def test_a_missing_trust_set_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrustUnavailable, match=r"trust set .*gone: cannot be read: No such file or directory$"):
        read_trust(tmp_path / "gone")


def test_an_empty_trust_set_trusts_nobody() -> None:
    assert not parse_trust(b'{"keys": []}').keys


def test_a_key_goes_into_a_file_for_its_holder_alone_and_comes_back(tmp_path: Path) -> None:
    made = keys.generate()
    keys.write_private(made, tmp_path / "a.jwk")
    assert (tmp_path / "a.jwk").stat().st_mode & 0o777 == 0o600
    back = keys.read_private(tmp_path / "a.jwk")
    assert back.kid == made.kid
    assert back.key.as_dict(private=True)["d"] == made.key.as_dict(private=True)["d"]
    assert made.key.as_dict(private=True)["d"] not in repr(back)
    with pytest.raises(keys.KeyUnavailable, match="never overwritten"):
        keys.write_private(keys.generate(), tmp_path / "a.jwk")
    assert keys.read_private(tmp_path / "a.jwk").kid == made.kid
    with pytest.raises(keys.KeyUnavailable, match="cannot be written: No such file or directory"):
        keys.write_private(made, tmp_path / "gone" / "a.jwk")
    with pytest.raises(keys.KeyUnavailable, match="cannot be read: No such file or directory"):
        keys.read_private(tmp_path / "gone.jwk")


def test_the_kid_is_the_thumbprint_of_rfc_8037_appendix_a(tmp_path: Path) -> None:
    example = {
        "kty": "OKP",
        "crv": "Ed25519",
        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "kid": "any",
    }
    (tmp_path / "a.jwk").write_text(json.dumps(example))
    assert keys.read_private(tmp_path / "a.jwk").key.thumbprint() == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert len(keys.generate().kid) == 43


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"d": None}, "is no private Ed25519 key"),
        ({"crv": "Ed448"}, "is no private Ed25519 key"),
        ({"kid": None}, "has no kid"),
        ({"kid": 1}, "has no kid"),
        ({"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}, "x and d are not one pair"),
        ({"d": "AAAA"}, "has no readable key"),
        ({"d": 1}, "has no readable key"),
    ],
)
def test_a_file_that_is_no_key_is_said_without_showing_it(change: dict[str, Any], wanted: str, tmp_path: Path) -> None:
    keys.write_private(keys.generate(), tmp_path / "a.jwk")
    value = json.loads((tmp_path / "a.jwk").read_text())
    (tmp_path / "b.jwk").write_text(json.dumps({k: v for k, v in (value | change).items() if v is not None}))
    with pytest.raises(keys.KeyUnavailable, match=wanted) as unavailable:
        keys.read_private(tmp_path / "b.jwk")
    assert value["d"] not in str(unavailable.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\0"])
def test_a_file_that_is_no_json_is_no_key(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.jwk").write_text(text)
    with pytest.raises(keys.KeyUnavailable, match="is no private Ed25519 key"):
        keys.read_private(tmp_path / "a.jwk")


# -- what a set says of the past ---------------------------------------------------------------------------------------

ANN, BO = entry("ann"), entry("bo", revoked=instants.render(NOON - DAY))
ACME, SETTINGS = entry("acme"), entry("settings")
BEFORE = trusting(ANN, BO, ACME, SETTINGS).announced()


@pytest.mark.parametrize(
    "now",
    [
        pytest.param([ANN, BO, ACME, SETTINGS], id="the same"),
        pytest.param([SETTINGS, ACME, BO, ANN, entry("cleo")], id="a key more"),
        pytest.param([ANN, BO, entry("acme", scopes=["account/acme", "account/globex"]), SETTINGS], id="a scope more"),
        pytest.param([entry("ann", revoked=instants.render(NOON)), BO, ACME, SETTINGS], id="revoked now"),
        pytest.param(
            [entry("ann", revoked=instants.render(NOON - BACKDATED)), BO, ACME, SETTINGS], id="a quarter of an hour ago"
        ),
        pytest.param([entry("ann", revoked=instants.render(NOON + DAY)), BO, ACME, SETTINGS], id="revoked tomorrow"),
    ],
)
def test_a_set_may_grow_and_keys_be_revoked(now: list[dict[str, Any]]) -> None:
    assert rewritten(BEFORE, trusting(*now), NOON) is None


@pytest.mark.parametrize(
    ("now", "why"),
    [
        pytest.param([BO, ACME, SETTINGS], "key ann of ann is gone", id="deleted"),
        pytest.param([ANN, ACME, SETTINGS], "key bo of bo is gone", id="deleted after it was revoked"),
        pytest.param([entry("ann", kid="ann-1"), BO, ACME, SETTINGS], "key ann of ann is gone", id="renamed"),
        pytest.param([entry("ann", x=entry("cleo")["x"]), BO, ACME, SETTINGS], "ann of ann is gone", id="exchanged"),
        pytest.param([entry("ann", holder="x"), BO, ACME, SETTINGS], "held by x now", id="another holder"),
        pytest.param(
            [ANN, BO, entry("acme", scopes=["account/x"]), SETTINGS], "lost the scope account/acme", id="scope"
        ),
        pytest.param([ANN, BO, entry("acme", on_behalf=True), SETTINGS], "behalf now", id="on behalf"),
        pytest.param(
            [ANN, BO, ACME, SETTINGS, entry("cleo", holder="acme")], "acme of acme works on", id="by another's scope"
        ),
        pytest.param(
            [ANN, BO, ACME, SETTINGS, entry("x", holder="ann", scopes=["account/*"])],
            "ann of ann works on",
            id="an approver no more",
        ),
        pytest.param([ANN, entry("bo"), ACME, SETTINGS], "stays so", id="no longer revoked"),
        pytest.param([ANN, entry("bo", revoked=instants.render(NOON)), ACME, SETTINGS], "stays so", id="later"),
        pytest.param(
            [ANN, entry("bo", revoked=instants.render(NOON - 2 * DAY)), ACME, SETTINGS], "stays so", id="earlier"
        ),
        pytest.param(
            [entry("ann", revoked=instants.render(NOON - BACKDATED - 1)), BO, ACME, SETTINGS],
            "from now on",
            id="dated back",
        ),
    ],
)
def test_a_set_that_rewrites_the_past_is_refused(now: list[dict[str, Any]], why: str) -> None:
    problem = rewritten(BEFORE, trusting(*now), NOON)
    assert problem is not None
    assert why in problem


def test_a_revocation_that_has_not_come_to_pass_may_be_moved_or_taken_back() -> None:
    planned = trusting(entry("ann", revoked=instants.render(NOON + DAY))).announced()
    for revoked in (NOON, NOON + 2 * DAY):
        assert rewritten(planned, trusting(entry("ann", revoked=instants.render(revoked))), NOON) is None
    assert rewritten(planned, trusting("ann"), NOON) is None
    assert rewritten(planned, trusting("ann"), NOON + 2 * DAY) is not None


def test_a_key_that_worked_on_behalf_does_not_become_the_owners() -> None:
    before = trusting(entry("acme", on_behalf=True)).announced()
    problem = rewritten(before, trusting("acme"), NOON)
    assert problem is not None
    assert "behalf no longer" in problem
