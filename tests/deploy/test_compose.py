"""docker-compose.yml and the image: what can be told without an engine, and what must not slip in.

`docker compose config` itself is run by hand on every change (no engine and no Compose on the machines that run this).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.adapters.seal import Sealer
from streams.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "image" / "Dockerfile"
COMPOSE: Any = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PROMETHEUS: Any = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yml").read_text())
GRAFANA = ROOT / "deploy" / "compose" / "grafana"
VARIABLES = {f"DOORWARD_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("file", [COMPOSE_FILE, DOCKERFILE], ids=lambda file: file.name)
def test_every_variable_is_a_setting(file: Path) -> None:
    named = set(re.findall(r"\bDOORWARD_[A-Z_]+[A-Z]\b", file.read_text()))
    named.discard("DOORWARD_KAFKA")  # the comment's DOORWARD_KAFKA_*
    assert len(named) >= 3
    assert named <= VARIABLES


def test_what_the_worker_is_given_are_good_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    image = dict(re.findall(r"(DOORWARD_[A-Z_]+)=(\S+)", DOCKERFILE.read_text()))
    for name in ("worker-1", "worker-2"):
        for variable, value in (image | SERVICES[name]["environment"]).items():
            monkeypatch.setenv(variable, value)
        settings = Settings()
        assert settings.worker == name
        assert settings.metrics_host == "0.0.0.0"  # so that Prometheus reaches it; the port is not published
        assert str(settings.trust) in [
            mount["target"] for mount in SERVICES[name]["volumes"] if isinstance(mount, dict)
        ]


def test_the_sealing_key_is_made_once_and_only_workers_have_it(tmp_path: Path) -> None:
    service = SERVICES["seal"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "doorward").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m streams.cli.main "$@"\n')
    (tmp_path / "bin" / "doorward").chmod(0o755)
    (tmp_path / "volume").mkdir()
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    made = []
    for _ in range(2):  # a deployment is brought up again and again
        subprocess.run(service["entrypoint"], cwd=tmp_path / "volume", env=environment, check=True, timeout=60)
        made.append((tmp_path / "volume" / "key.json").read_bytes())
    assert made[0] == made[1]
    Sealer.read([tmp_path / "volume" / "key.json"])
    assert service["volumes"] == ["seal:/var/lib/doorward"]
    having = {name for name, each in SERVICES.items() if "seal:/etc/doorward-seal:ro" in each.get("volumes", [])}
    assert having == {"worker-1", "worker-2"}
    for name in having:
        assert SERVICES[name]["environment"]["DOORWARD_SEAL_KEYS"] == "/etc/doorward-seal/key.json"
        assert SERVICES[name]["depends_on"]["seal"] == {"condition": "service_completed_successfully"}


def test_images_are_pinned() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert all(re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+[a-z0-9-]*", image) for image in images), images
    assert len(set(re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE))) == 1


def test_kafka_is_the_version_that_the_tests_run_on() -> None:
    tested = re.search(r"kafka_2\.13:(\S+)", (ROOT / "streams" / "dev" / "kafka.lock").read_text())
    assert tested is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{tested[1]}"


def test_ports_are_bound_to_the_loopback_interface() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"kafka", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert not any("network_mode" in service for service in SERVICES.values())


def test_services_are_hardened() -> None:
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        # Kafka's start script writes its configuration into its own folder
        assert service.get("read_only", False) is (name != "kafka"), name


def test_every_service_that_stays_is_watched() -> None:
    for name, service in SERVICES.items():
        stays = "restart" in service
        disabled = service.get("healthcheck", {}).get("disable", False)
        own = service["image"].startswith("doorward")  # its image brings a check
        assert stays is not disabled, name
        assert not stays or own or "test" in service["healthcheck"], name


def test_no_two_workers_share_a_volume() -> None:
    workers = {name: service for name, service in SERVICES.items() if service.get("command") == ["run"]}
    assert len(workers) == 2
    mounts = [mount for service in workers.values() for mount in service["volumes"] if isinstance(mount, str)]
    volumes = [mount for mount in mounts if not mount.endswith(":ro")]
    assert len(set(volumes)) == len(workers)
    targets = PROMETHEUS["scrape_configs"][0]["static_configs"][0]["targets"]
    assert targets == [f"{name}:9108" for name in workers]


def test_what_is_mounted_from_here_exists() -> None:
    mounts = [
        mount.split(":")[0]
        for service in SERVICES.values()
        for mount in service.get("volumes", [])
        if isinstance(mount, str) and mount.startswith("./")
    ]
    assert len(mounts) >= 4
    assert all((ROOT / mount).exists() for mount in mounts)
    pushed = [word for word in SERVICES["push"]["command"] if word.startswith("/policies/")]
    assert sorted(Path(word).name for word in pushed) == sorted(
        file.name for file in (ROOT / "deploy" / "policies").glob("*.yaml") if not file.name.endswith(".test.yaml")
    )


def test_the_image_is_built_of_locked_packages_by_a_user_that_is_not_root() -> None:
    text = DOCKERFILE.read_text()
    commands = text.replace("\\\n", " ")
    installs = re.findall(r"pip install [^&\n]*", commands)
    assert len(installs) == 3
    assert all("--require-hashes" in install or "--no-index" in install for install in installs)
    assert all("--no-deps" in install for install in installs)
    assert "USER 10001:10001" in text
    assert "HEALTHCHECK" in text
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in (ROOT / ".dockerignore").read_text().splitlines(), name


def test_the_build_tool_of_the_image_is_the_locked_one() -> None:
    picked = re.search(r"\^\((\S+?)\)==", DOCKERFILE.read_text())
    assert picked is not None
    lock = (ROOT / "requirements-dev.lock").read_text()
    locked = {name for name in picked[1].split("|") if re.search(rf"^{re.escape(name)}==", lock, re.MULTILINE)}
    assert locked == set(picked[1].split("|"))
    tool = re.search(r"^hatchling==(\S+)", lock, re.MULTILINE)
    assert tool is not None
    assert f'"hatchling=={tool[1]}"' in (ROOT / "pyproject.toml").read_text()


def test_prometheus_and_grafana_have_the_mixin() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = dict(volume.split(":")[:2] for name in ("prometheus", "grafana") for volume in services[name]["volumes"])
    named = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())["rule_files"]
    rules = [host for host, inside in mounts.items() if inside.removeprefix("/etc/prometheus/") in named]
    assert len(rules) == len(named) == 2
    assert all((ROOT / host).is_file() for host in rules)
    [dashboards] = [ROOT / host for host, inside in mounts.items() if inside == "/etc/grafana/dashboards"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (dashboards / Path(home).name).is_file()
