"""`policy push` against real workers: what its trial foretells is what the push then does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from streams.dev.sandbox import Sandbox
from tests.integration.backend import Backend, join

DOORWARD = [sys.executable, "-m", "streams.cli.main"]
FRANCE, AMERICA = "5.39.0.1", "8.8.8.8"
LICENSING = """\
scope: account
account: acme
name: licensing
revision: 1
rules: [{id: elsewhere, when: {country: {not: [US]}}, then: remove}]
default: admit
contest: https://acme.example/contest
"""

pytestmark = pytest.mark.broker


def test_the_trial_counts_what_the_push_then_does(tmp_path: Path) -> None:
    document = tmp_path / "licensing.yaml"
    document.write_text(LICENSING)
    with Sandbox(workers=2, accounts=["acme"]) as sandbox:
        backend = Backend(sandbox.bootstrap)
        events = [join(f"m-{i % 8}", FRANCE if i < 12 else AMERICA, id=f"e-{i}") for i in range(40)]
        backend.send_events(*events)
        made = backend.decisions(*(event["id"] for event in events))
        assert {each["data"]["verdict"] for each in made.values()} == {"admit"}

        def push(most_removed: int) -> subprocess.CompletedProcess[str]:
            where = ["--bootstrap", sandbox.bootstrap, "--trust", str(sandbox.authority.trust)]
            key = ["--key", str(sandbox.authority.files["owner"])]
            limit = ["--max-removed", str(most_removed), "--json"]
            command = [*DOORWARD, "policy", "push", str(document), *where, *key, *limit]
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

        refused = push(11)
        assert refused.returncode == 1, refused.stderr
        (tried,) = json.loads(refused.stdout)["trial"]["documents"]
        assert tried["would_remove"] == {"least": 12, "most": 12}
        assert tried["sessions"] == {"least": 40, "most": 40}
        assert tried["meetings"] == {"least": 8, "most": 8}
        decided = [json.loads(record.value) for record in backend.read("decisions")]
        assert {each["data"]["verdict"] for each in decided} == {"admit"}, "a refused push removes nobody"
        allowed = push(12)
        assert allowed.returncode == 0, allowed.stderr
        said = json.loads(allowed.stdout)
        assert (said["swept"]["remove"], said["swept"]["decided"]) == (12, 40)
        assert all({"judge", "in_force", "swept"} <= worker["timings"].keys() for worker in said["workers"])
