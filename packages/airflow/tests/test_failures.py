"""Each failure of the runbook, on a server of its own: nothing is lost, nothing is there twice."""

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from airflow.sdk.exceptions import AirflowFailException
from real import COMMAND, Server, until
from records import everything, get, lines, published, put
from test_pages import small_disk

from airflow_provider_headwater import calls
from airflow_provider_headwater.client import Client
from airflow_provider_headwater.client import Server as Address
from airflow_provider_headwater.errors import CursorExpired, HeadwaterUnavailable
from airflow_provider_headwater.operators import HeadwaterPullOperator, HeadwaterPushOperator


@pytest.fixture
def own(tmp_path, connect):
    """A server that a test can kill; it is the default connection."""
    running = Server(tmp_path / "server")
    connect("headwater_default", running.url)
    yield running
    running.close()


@pytest.fixture
def own_api(own):
    own.start()
    with Client(Address(own.url)) as client:
        yield client


@pytest.fixture
def own_database(own_api):
    return own_api.run(calls.create_database())["id"]


def pull(database, folder, **options):
    return HeadwaterPullOperator(task_id="pull", database=database, consumer="c", directory=str(folder), **options)


def push(database, count, first=0, **options):
    records = [{"key": f"k{n:06}", "value": {"n": n, "text": "x" * 50}} for n in range(first, first + count)]
    return HeadwaterPushOperator(task_id="push", database=database, collection="items", records=records, op="put", **options)


def keys_once(files, count):
    """Assert that each record came as one insert and nothing else."""
    changes = lines(files)
    assert [change["op"] for change in changes] == ["insert"] * count
    assert len({change["key"] for change in changes}) == count


def try_again_after_a_person(api, database, execute, operator):
    """Assert that one more try of a push leaves what a person wrote since."""
    put(api, database, "items", k000000={"n": "by a person"})
    execute(operator)
    assert get(api, database, "items", "k000000") == {"n": "by a person"}


def test_server_down_for_the_whole_run(own, own_api, own_database, execute, tmp_path):
    put(own_api, own_database, "items", a={"n": 1})
    published(own_api)
    own.kill()
    for operator in (pull(own_database, tmp_path / "f"), push(own_database, 3)):
        with pytest.raises(HeadwaterUnavailable, match="cannot be reached"):
            execute(operator)
    own.start()
    put(own_api, own_database, "items", b={"n": 2})
    published(own_api)
    keys_once(execute(pull(own_database, tmp_path / "f"))["files"], 2)
    execute(push(own_database, 3))
    assert len(everything(own_api, own_database, "items")) == 5


def test_server_killed_in_the_middle_of_a_push(own, own_api, own_database, execute, tmp_path):
    operator = push(own_database, 3_000, batch_size=100)
    outcome = []

    def work():
        try:
            outcome.append(execute(operator))
        except HeadwaterUnavailable as error:
            outcome.append(error)

    pushing = threading.Thread(target=work)
    pushing.start()
    until(
        lambda: (
            len(own_api.run(calls.records(own_database, "items", limit=500))["records"]) >= 200
            if _has(own_api, own_database)
            else False
        )
    )
    own.kill()
    assert pushing.is_alive()
    own.start()
    pushing.join(120)
    if isinstance(outcome[0], HeadwaterUnavailable):
        # Its patience ended before the server was back, so this is Airflow's retry.
        outcome.append(execute(operator))
    assert outcome[-1]["records"] == 3_000
    assert len(everything(own_api, own_database, "items")) == 3_000
    published(own_api)
    keys_once(execute(pull(own_database, tmp_path / "f"))["files"], 3_000)
    try_again_after_a_person(own_api, own_database, execute, operator)


def _has(api, database):
    return any(entry["name"] == "items" for entry in api.run(calls.collections(database))["collections"])


def test_wrong_token_fails_at_once(own, connect, execute, tmp_path):
    tokens = tmp_path / "tokens.toml"
    make = [COMMAND, "token", "new", "--name", "etl", "--access", "write", "--file", str(tokens)]
    good = subprocess.run(make, check=True, capture_output=True, text=True).stdout.strip()
    own.start("--tokens", str(tokens))
    connect("headwater_default", own.url, good)
    with Client(Address(own.url, token=good)) as client:
        database = client.run(calls.create_database())["id"]
    execute(push(database, 1))
    connect("headwater_default", own.url, "not-the-token")
    begun = time.monotonic()
    with pytest.raises(AirflowFailException, match="401"):
        execute(push(database, 1), run_id="next")
    # No tries, no pauses.
    assert time.monotonic() - begun < 2
    with Client(Address(own.url, token=good)) as client:
        assert len(everything(client, database, "items")) == 1


def refused(server, reason):
    """How many requests the server has turned away for this reason."""
    metrics = until(lambda: answer.text if (answer := httpx.get(f"{server.url}/metrics")).is_success else None)
    return int(re.search(rf'headwater_refused_total{{reason="{reason}"}} (\d+)', metrics)[1])


@pytest.mark.parametrize(
    ("limits", "reason"), [("requests_per_second = 50\nburst = 5", "rate"), ("requests = 1", "requests")], ids=["429", "503"]
)
def test_a_server_that_asks_to_be_left_alone(own, execute, tmp_path, limits, reason):
    config = tmp_path / "config.toml"
    config.write_text(f"[limits]\n{limits}\n")
    own.start("--config", str(config))
    with Client(Address(own.url)) as client:
        database = client.run(calls.create_database())["id"]
        outcomes = []
        # Two at once, of other records each.
        tasks = [push(database, 500, batch_size=10), push(database, 500, batch_size=10, first=500)]
        threads = [
            threading.Thread(target=lambda task=task, run=run: outcomes.append(execute(task, run_id=run)))
            for run, task in enumerate(tasks)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert [outcome["records"] for outcome in outcomes] == [500, 500]
        assert refused(own, reason) > 0
        published(client)
    keys_once(execute(pull(database, tmp_path / "f"))["files"], 1_000)


KILLED_AT_COMMIT = """
import os, signal, sys
from types import SimpleNamespace
from airflow_provider_headwater import calls
from airflow_provider_headwater.client import Client
from airflow_provider_headwater.operators import HeadwaterPullOperator
run = Client.run
def killed(self, call):
    if not call.path.endswith("/commit"):
        return run(self, call)
    if sys.argv[3] == "after":
        run(self, call)
    os.kill(os.getpid(), signal.SIGKILL)
Client.run = killed
operator = HeadwaterPullOperator(task_id="pull", database=sys.argv[1], consumer="c", directory=sys.argv[2], page_size=10)
operator.execute({"ti": SimpleNamespace(dag_id="dag", task_id="pull", run_id="run", map_index=-1)})
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_worker_killed_at_the_commit_of_a_page(own_api, own_database, execute, tmp_path, moment):
    folder = tmp_path / "f"
    put(own_api, own_database, "items", **{f"k{n}": {"n": n} for n in range(20)})
    published(own_api)
    worker = subprocess.run([sys.executable, "-c", KILLED_AT_COMMIT, own_database, str(folder), moment], check=False)
    assert worker.returncode == -signal.SIGKILL
    left = sorted(folder.glob("*.jsonl"))
    assert len(lines(left)) == 10
    put(own_api, own_database, "items", k20={"n": 20})
    published(own_api)
    # The next try of the same run tells of all that the run has pulled, the run after it of what is new.
    pulled = execute(pull(own_database, folder))
    keys_once(pulled["files"], 21)
    assert pulled["changes"] == 21
    assert sorted(folder.glob("*.jsonl")) == sorted(map(Path, pulled["files"]))
    assert set(map(str, left)) < set(pulled["files"])
    assert execute(pull(own_database, folder), run_id="next")["files"] == []


def test_a_run_that_died_before_the_commit_leaves_the_page_to_the_next_one(own_api, own_database, execute, tmp_path):
    folder = tmp_path / "f"
    put(own_api, own_database, "items", **{f"k{n}": {"n": n} for n in range(20)})
    published(own_api)
    subprocess.run([sys.executable, "-c", KILLED_AT_COMMIT, own_database, str(folder), "before"], check=False)
    keys_once(execute(pull(own_database, folder), run_id="next")["files"], 20)
    put(own_api, own_database, "items", k20={"n": 20})
    published(own_api)
    # Cleared, the first one has what came since, and not what the other has dealt with.
    pulled = execute(pull(own_database, folder))
    assert [change["key"] for change in lines(pulled["files"])] == ["k20"]


def test_cursor_expired(own, execute, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("[lake]\nkeep_changes_s = 1\nkeep_snapshots_s = 1\n")
    own.start("--config", str(config))
    folder = tmp_path / "f"
    with Client(Address(own.url)) as api:
        database = api.run(calls.create_database())["id"]
        put(api, database, "items", a={"n": 1}, gone={"n": 0})
        published(api)
        keys_once(execute(pull(database, folder))["files"], 2)
        api.run(calls.writes(database, [{"op": "delete", "collection": "items", "key": "gone"}], key="d", origin="person"))
        numbers = iter(range(10_000))

        def expired():
            put(api, database, "items", a={"n": next(numbers)})
            published(api)
            return api.run(calls.consumer(database, "c"))["expired"]

        until(expired)
        with pytest.raises(CursorExpired, match="on_expired='snapshot'"):
            execute(pull(database, folder), run_id="late")
        last = next(numbers) - 1
        pulled = execute(pull(database, folder, on_expired="snapshot"), run_id="late")
        state = {change["key"]: change["after"] for change in lines(pulled["snapshot"] + pulled["files"])}
        assert state == {"a": {"n": last}}
        put(api, database, "items", b={"n": 1})
        published(api)
        assert [change["key"] for change in lines(execute(pull(database, folder), run_id="next")["files"])] == ["b"]


def test_full_disk_of_the_worker(own_api, own_database, execute, tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    put(own_api, own_database, "items", **{f"k{n}": {"text": "x" * 4000} for n in range(40)})
    published(own_api)
    with small_disk(folder, 256):
        ballast = folder / "ballast"
        ballast.write_bytes(b"0" * 100_000)
        with pytest.raises(OSError) as caught:
            execute(pull(own_database, folder))
        assert caught.value.errno == errno.ENOSPC
        assert os.listdir(folder) == ["ballast"]
        ballast.unlink()
        keys_once(execute(pull(own_database, folder))["files"], 40)


def test_paused_for_a_hundred_thousand_changes(own_api, own_database, execute, tmp_path):
    folder = tmp_path / "f"
    execute(pull(own_database, folder))
    execute(push(own_database, 100_000, batch_size=5_000))
    published(own_api)
    pulled = execute(pull(own_database, folder), run_id="resumed")
    assert pulled["changes"] == 100_000
    keys_once(pulled["files"], 100_000)
    assert execute(pull(own_database, folder), run_id="next")["changes"] == 0
