"""schemathesis over the server's own description of its HTTP API: no 5xx, no answer outside of it, no bad request taken."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from real import COMMAND, Server

from airflow_provider_headwater import calls
from airflow_provider_headwater.client import Client
from airflow_provider_headwater.client import Server as Address

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))


@pytest.fixture
def guarded(tmp_path):
    """A server with tokens, so that requests without one are part of the examination, and a token for everything."""
    tokens = tmp_path / "tokens.toml"
    make = [COMMAND, "token", "new", "--name", "examiner", "--access", "admin", "--file", str(tokens)]
    token = subprocess.run(make, check=True, capture_output=True, text=True).stdout.strip()
    # No limits on how fast it may ask.
    config = tmp_path / "config.toml"
    config.write_text("[limits]\nrequests_per_second = 100000\nburst = 100000\n")
    server = Server(tmp_path / "server")
    try:
        yield server.start("--tokens", str(tokens), "--config", str(config)), token
    finally:
        server.close()


def test_the_api_is_as_it_is_described(guarded, tmp_path):
    server, token = guarded
    with Client(Address(server.url, token=token)) as api:
        database = api.run(calls.create_database("examined"))["id"]
        write = {"op": "put", "collection": "items", "key": "a", "value": {"n": 1}}
        api.run(calls.writes(database, [write], key="first", origin="test"))
        api.run(calls.ensure_consumer(database, "c", start="beginning"))
        api.run(calls.publish())
    # Places that are there, or most requests would end at the first unknown name.
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(
        f'[parameters]\n"path.db" = "{database}"\n"path.collection" = "items"\n"path.name" = "c"\n"query.wait" = 0\n'
    )
    run = subprocess.run(
        [
            SCHEMATHESIS,
            *("--config-file", str(settings), "run", f"{server.url}/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {token}"),
            *("--max-examples", "20", "--seed", "1", "--phases", "examples,coverage,fuzzing", "--no-color"),
            # It would wait for changes, a minute each time.
            *("--exclude-path-regex", "/pull$"),
            # What a description cannot say, such as that a delete has no value, is refused with an error that does.
            *("--exclude-checks", "positive_data_acceptance", "--continue-on-failure"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
    assert httpx.get(f"{server.url}/v1/health").is_success


@pytest.mark.parametrize(
    ("method", "path", "arguments"),
    [
        ("POST", "writes", {"content": b"{bad json"}),
        ("POST", "writes", {"json": {"writes": "no list"}}),
        ("POST", "writes", {"json": {"writes": [], "unknown": 1}}),
        ("POST", "writes", {"json": {"writes": [{"op": "put", "collection": "items", "key": "k", "value": {}, "extra": 1}]}}),
        ("POST", "writes", {"content": b'{"writes":["' + b"x" * (40 << 20) + b'"]}'}),
        ("GET", "changes", {"params": {"cursor": "'; DROP TABLE items; --"}}),
        ("GET", "changes", {"params": {"cursor": "../../etc/passwd"}}),
        ("GET", "changes", {"params": {"limit": "-1"}}),
        ("GET", "changes", {"params": {"nonsense": "1"}}),
        ("PUT", "consumers/%00%0a", {"json": {}}),
        ("GET", "collections/..%2F..%2F/records", {}),
        ("PUT", "collections/items/records/k", {"content": b"[" * 200_000}),
    ],
)
def test_a_bad_request_says_what_is_wrong_and_changes_nothing(api, database, method, path, arguments):
    before = api.run(calls.collections(database)), api.run(calls.consumers(database))
    if "content" in arguments:
        arguments = {**arguments, "headers": {"Content-Type": "application/json"}}
    answer = httpx.request(method, f"{api.server.url}/v1/databases/{database}/{path}", timeout=60, **arguments)
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    assert error["code"]
    assert len(error["message"]) > 10
    assert (api.run(calls.collections(database)), api.run(calls.consumers(database))) == before
