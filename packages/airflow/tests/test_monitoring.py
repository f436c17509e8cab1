"""The alert rules and the runbook."""

import os
import re
import subprocess

import httpx
import pytest
from real import ROOT, Server, free_port

PROMTOOL = os.environ.get("PROMTOOL", "promtool")
ALERTS = ROOT / "deploy/alerts.yml"


@pytest.mark.parametrize("command", [("check", "rules", ALERTS), ("test", "rules", ROOT / "deploy/alerts_test.yml")])
def test_the_rules_are_right_and_fire_when_they_should(command):
    run = subprocess.run([PROMTOOL, *map(str, command)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_rule_is_tested_and_has_a_page_in_the_runbook():
    rules = ALERTS.read_text()
    tests = (ROOT / "deploy/alerts_test.yml").read_text()
    names = re.findall(r"alert: (\w+)", rules)
    assert names
    for name in names:
        assert re.search(rf"alertname: {name}\n\s+exp_alerts:", tests), f"no test has {name} fire"
    pages = re.findall(r"runbook: (\S+)", rules)
    assert len(pages) == len(names)
    for page in pages:
        assert (ROOT / page).is_file(), f"{page} is missing"


def test_the_server_has_every_metric_that_a_rule_uses(tmp_path):
    config = tmp_path / "config.toml"
    # Some it has only if it is to tell an Airflow.
    config.write_text(f'[airflow]\nurl = "http://127.0.0.1:{free_port()}"\ntoken_file = "{config}"\nassets = []\n')
    server = Server(tmp_path / "server")
    try:
        served = httpx.get(f"{server.start('--config', str(config)).url}/metrics").text
    finally:
        server.close()
    for metric in set(re.findall(r"\bheadwater_\w+", re.sub(r"#.*", "", ALERTS.read_text()))):
        # A counter's name ends so in its samples only.
        family = metric.removesuffix("_total")
        assert re.search(rf"^# TYPE {family} ", served, re.MULTILINE), f"/metrics has no {metric}"


def test_the_runbook_has_no_dead_links():
    folder = ROOT / "docs/runbook"
    pages = sorted(folder.glob("*.md"))
    listed = (folder / "README.md").read_text()
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert (folder / link).exists(), f"{page.name} links to {link}"
        assert page.name == "README.md" or f"({page.name})" in listed, f"the runbook does not list {page.name}"
