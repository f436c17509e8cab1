"""An Airflow of its own, before anything imports it."""

import atexit
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

import pytest  # noqa: E402
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

        connection = Connection(conn_id=name, conn_type="headwater", host=host, password=token, extra=extra or None)
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
