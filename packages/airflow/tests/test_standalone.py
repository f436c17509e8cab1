"""A whole Airflow and a real server.

HEADWATER_AIRFLOW_ROUNDS=20 repeats the way of a change and prints the median.
"""

import os
import statistics
import time

from conftest import EXAMPLES
from real import Server, until
from records import get, put
from standalone import Standalone

from airflow_provider_headwater import calls
from airflow_provider_headwater.client import Client
from airflow_provider_headwater.client import Server as Address

ROUNDS = int(os.environ.get("HEADWATER_AIRFLOW_ROUNDS", "1"))
#: How long a run that must not come is waited for; one that would come takes about nine seconds.
QUIET = 20

WAITING = """
from airflow.sdk import DAG
from airflow_provider_headwater.sensors import HeadwaterChangeSensor
with DAG("waiting", schedule="@once", catchup=False):
    HeadwaterChangeSensor(task_id="wait", database={database!r}, consumer="waiting", collection="waited", deferrable=True)
"""


def write_dags(folder, database):
    """The example as it is; the same with a sweep each minute and no events; and a sensor that waits."""
    example = (EXAMPLES / "example_two_way_sync.py").read_text()
    (folder / "example.py").write_text(example)
    swept = example.replace("0 * * * *", "* * * * *").replace("headwater_two_way_sync", "swept")
    swept = swept.replace('"headwater_orders"', '"swept"').replace('"orders"', '"swept"')
    (folder / "swept.py").write_text(swept)
    (folder / "waiting.py").write_text(WAITING.format(database=database))


class Person:
    """Someone who edits orders over HTTP."""

    def __init__(self, api):
        self.api = api
        self.database = api.run(calls.create_database())["id"]

    def put(self, collection, key, **fields):
        put(self.api, self.database, collection, **{key: fields})

    def total(self, key, seconds):
        """The total of an order, once it is there."""
        [total] = until(lambda: self._total(key), seconds, f"the total of {key}")
        return total

    def _total(self, key):
        order = get(self.api, self.database, "orders", key)
        return [order["total"]] if "total" in order else None


def test_a_change_is_answered(tmp_path, connect):
    server = Server(tmp_path / "server")
    airflow = None
    dags = tmp_path / "dags"
    dags.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    try:
        server.start()
        connect("headwater_default", server.url)
        with Client(Address(server.url)) as api:
            person = Person(api)
            person.put("orders", "first", quantity=1, price=1)
            write_dags(dags, person.database)
            airflow = Standalone(home, dags, HEADWATER_DATABASE=person.database, HEADWATER_FILES=str(tmp_path / "files"))
            for dag in ("headwater_two_way_sync", "swept", "waiting"):
                airflow.resume(dag)
            person.total("first", 120)
            times = [_round(person, number) for number in range(ROUNDS)]
            print(f"from a change to its answer, {ROUNDS} times: median {statistics.median(times):.1f} s")
            assert statistics.median(times) < 15
            _its_own_push_starts_nothing(airflow)
            _the_schedule_fires(airflow)
            _a_killed_triggerer_costs_nothing(airflow, api, person)
    finally:
        if airflow:
            airflow.close()
        server.close()


def _round(person, number):
    begun = time.monotonic()
    person.put("orders", f"k{number}", quantity=2, price=number)
    assert person.total(f"k{number}", 60) == 2 * number
    return time.monotonic() - begun


def _its_own_push_starts_nothing(airflow):
    def finished():
        runs = airflow.runs("headwater_two_way_sync")
        return runs if runs and all(run["state"] == "success" for run in runs) else None

    before = until(finished, 60, "the end of the runs")
    begun = time.monotonic()
    while time.monotonic() - begun < QUIET:
        assert len(airflow.runs("headwater_two_way_sync")) == len(before)
        time.sleep(1)


def _the_schedule_fires(airflow):
    until(
        lambda: any(run["run_type"] == "scheduled" and run["state"] == "success" for run in airflow.runs("swept")),
        150,
        "a scheduled run",
    )


def _a_killed_triggerer_costs_nothing(airflow, api, person):
    [run] = until(lambda: airflow.runs("waiting"), 60, "the waiting run")
    name = run["dag_run_id"]
    until(lambda: airflow.task_state("waiting", name, "wait") == "deferred", 60, "a deferred sensor")
    airflow.kill_triggerer()
    person.put("waited", "w", n=1)
    api.run(calls.publish())
    assert airflow.task_state("waiting", name, "wait") == "deferred"
    airflow.start_triggerer()
    until(lambda: airflow.task_state("waiting", name, "wait") == "success", 150, "the end of the sensor")
