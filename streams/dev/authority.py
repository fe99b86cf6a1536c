"""Development keys, made on the spot: an owner, two approvers, and the trust set that says so.

The owner's key is trusted for the accounts that are named. Where none is, it is trusted for every account, which by
ruling 30 makes it a key on owners' behalf: hosts are then never removed, and alerts carry no facts.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streams.adapters.iso import vocabulary
from streams.adapters.policylog import Offer
from streams.core.policy import Invalid, parse
from streams.wire import jws, keys
from streams.wire.documents import Placed
from streams.wire.trust import read_trust

AUDIENCE: Final = "doorward"
SAMPLE_ACCOUNT: Final = "acme"
"""The account of the examples; always among the named ones."""


@dataclass(frozen=True)
class Authority:
    """Who may sign in a sandbox.

    Attributes:
        trust: the JWK Set's file.
        files: key name (``owner``, ``approver-1``, ``approver-2``) to its private key's file.
        private: the same names to keys.
    """

    trust: Path
    files: Mapping[str, Path]
    private: Mapping[str, keys.PrivateKey]

    def offer(self, value: dict[str, Any]) -> Offer:
        """Sign a document as whoever may: two approvers for service scope, else the owner. Raises Invalid."""
        document = parse(value, vocabulary())
        names = ("approver-1", "approver-2") if document.scope == "service" else ("owner",)
        raw = jws.sign(value, [self.private[name] for name in names], AUDIENCE)
        return Offer(document.path, document.revision, raw)


def establish(folder: Path, accounts: Iterable[str]) -> Authority:
    """Make the keys and the trust set in a folder that is ours alone; keys that are there already are kept.

    Args:
        folder: made if missing.
        accounts: what the owner's key is trusted for, besides what it was before; none: every account.

    Raises:
        OSError: the folder cannot be made.
        keys.KeyUnavailable: a file there is no key.
        TrustUnavailable: the file there is no trust set.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    trust = folder / "trust.json"
    named = sorted({*accounts, *_named_before(trust)})
    owner_scopes = [f"account/{account}" for account in sorted({*named, SAMPLE_ACCOUNT})] if named else ["account/*"]
    scopes = {"owner": owner_scopes, "approver-1": ["service"], "approver-2": ["service"]}
    files = {name: folder / f"{name}.jwk.json" for name in scopes}
    private = {name: _kept_or_new(file) for name, file in files.items()}
    entries = [keys.public_jwk(private[name], name, scopes[name]) for name in scopes]
    trust.write_text(json.dumps({"keys": entries}, indent=1) + "\n")
    return Authority(trust, files, private)


def _kept_or_new(file: Path) -> keys.PrivateKey:
    """The key of a kept sandbox: its policy log is signed by it. Raises keys.KeyUnavailable for a file that is none."""
    if file.exists():
        return keys.read_private(file)
    key = keys.generate()
    keys.write_private(key, file)
    return key


def _named_before(trust: Path) -> frozenset[str]:
    """The accounts that a kept sandbox trusts its owner for."""
    return read_trust(trust).exact_accounts() if trust.exists() else frozenset()


def accounts_of(placed: Sequence[Placed]) -> set[str]:
    """The accounts that documents name."""
    return {
        value["account"] for value, _ in placed if isinstance(value, dict) and isinstance(value.get("account"), str)
    }


def offers(authority: Authority, placed: Sequence[Placed]) -> tuple[list[Offer], list[str]]:
    """All documents signed, lower revisions first; and one line for each that cannot be."""
    made: list[Offer] = []
    problems: list[str] = []
    for value, place in placed:
        try:
            made.append(authority.offer(value))
        except Invalid as exc:
            problems += [f"{place}: {problem}" for problem in exc.problems]
        except jws.BadSignature as exc:
            problems.append(f"{place}: {exc} [{exc.code}]")
    return sorted(made, key=lambda offer: (offer.path, offer.revision)), problems
