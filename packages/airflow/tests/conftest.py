"""An Airflow of its own, before anything imports it."""

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="headwater-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
EXAMPLES = Path(__file__).parents[1] / "src/airflow_provider_headwater/example_dags"
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(EXAMPLES),
    AIRFLOW__CORE__TEST_CONNECTION="Enabled",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME}/airflow.db",
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(HOME / "logs"),
    # What is said to 127.0.0.1 is for it.
    NO_PROXY="127.0.0.1,localhost",
)

from types import SimpleNamespace  # noqa: E402

import pytest  # noqa: E402
from browser import Browser  # noqa: E402
from real import Drillbit, Server  # noqa: E402
from scripted import Scripted  # noqa: E402


@pytest.fixture
def scripted():
    """A server that answers as it is told, for what a real one does not do on demand."""
    server = Scripted()
    yield server
    server.close()


@pytest.fixture
def connect(monkeypatch):
    """Makes connections by name."""

    def make(name, host, token="", **extra):
        from airflow.sdk import Connection

        connection = Connection(
            conn_id=name, conn_type="headwater", host=host, password=token, extra=json.dumps(extra) if extra else None
        )
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", connection.as_json())
        return name

    return make


@pytest.fixture(scope="session")
def server():
    """A server for all tests that leave it as it is; each makes databases of its own."""
    running = Server()
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture(scope="session")
def drill(server):
    """A Drillbit over the lake of `server`."""
    drillbit = Drillbit(server.lake)
    yield drillbit
    drillbit.close()


@pytest.fixture
def api(server, connect):
    """A client of `server`, which is also the default connection."""
    from airflow_provider_headwater.client import Client, Server

    connect("headwater_default", server.url)
    with Client(Server(server.url)) as client:
        yield client


@pytest.fixture
def database(api):
    """A new database's id."""
    from airflow_provider_headwater import calls

    return api.run(calls.create_database())["id"]


@pytest.fixture
def browser():
    """A person's browser."""
    running = Browser()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def execute():
    """Executes an operator as a task of one run would; the same run again is its next try."""

    def run(operator, run_id="run"):
        instance = SimpleNamespace(dag_id="dag", task_id=operator.task_id, run_id=run_id, map_index=-1, try_number=1)
        if hasattr(operator, "origin"):
            operator.origin = operator.origin.replace("{{ dag.dag_id }}", "dag")
        return operator.execute({"ti": instance, "run_id": run_id})

    return run


@pytest.fixture(scope="session")
def airflow_database():
    """Airflow's own database, made once."""
    from airflow.utils import db

    db.initdb()


@pytest.fixture
def run_dag(airflow_database, database, monkeypatch, tmp_path):
    """Runs an example DAG as `airflow dags test` does, on a database of its own."""
    monkeypatch.setenv("HEADWATER_DATABASE", database)
    monkeypatch.setenv("HEADWATER_FILES", str(tmp_path))

    def run(name):
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(EXAMPLES), bundle_name="dags-folder")
        assert not bag.import_errors
        return bag.dags[name].test()

    return run
