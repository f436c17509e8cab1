"""`airflow standalone`: all of Airflow's programs, in a folder and a process group of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from real import free_port, until

AIRFLOW = str(Path(sys.executable).with_name("airflow"))


class Standalone:
    def __init__(self, folder, dags, port, **environment):
        self.folder = Path(folder)
        self.folder.mkdir()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = os.environ | {
            # It starts its components by name.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            # Until everything is up: a task that begins before the API is there fails.
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "2",
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.folder}/airflow.db",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.folder / "logs"),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            **environment,
        }
        self.log = (self.folder / "standalone.log").open("w")
        self.processes = []
        self._start("standalone")
        try:
            until(self._is_healthy, 240, "a healthy Airflow")
        except BaseException:
            self.close()
            raise
        self.token = httpx.get(f"{self.url}/auth/token", timeout=30).json()["access_token"]
        self.api = httpx.Client(base_url=f"{self.url}/api/v2", headers={"Authorization": f"Bearer {self.token}"}, timeout=30)

    def _start(self, *arguments):
        # A group of its own, since standalone leaves its children behind when it is ended.
        process = subprocess.Popen(
            [AIRFLOW, *arguments], env=self.environment, stdout=self.log, stderr=self.log, start_new_session=True
        )
        self.processes.append(process)

    def _is_healthy(self):
        assert self.processes[0].poll() is None, (self.folder / "standalone.log").read_text()[-5000:]
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=10).json()
        except (httpx.TransportError, ValueError):
            return False
        return all(health[name]["status"] == "healthy" for name in ("scheduler", "triggerer", "dag_processor"))

    def pause(self, dag, paused=True):
        """Pause a DAG, once it was read."""
        until(lambda: self.api.patch(f"/dags/{dag}", json={"is_paused": paused}).is_success, 120, f"the DAG {dag}")

    def resume(self, dag):
        """Resume a DAG, once it was read."""
        self.pause(dag, paused=False)

    def runs(self, dag):
        answer = self.api.get(f"/dags/{dag}/dagRuns", params={"limit": 100})
        return answer.json()["dag_runs"] if answer.is_success else []

    def task_state(self, dag, run, task):
        return self.api.get(f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}").json().get("state")

    def kill_triggerer(self):
        """SIGKILL to all of the triggerer's processes; standalone starts no other."""
        group = self.processes[0].pid
        killed = [pid for pid in _processes() if os.getpgid(pid) == group and b"triggerer" in _command(pid)]
        assert killed
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    def start_triggerer(self):
        self._start("triggerer")

    def close(self):
        for process in self.processes:
            # Each is the leader of its group, which is gone when its last member is.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            finally:
                process.wait(60)
        self.log.close()


def _processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _command(int(name))]


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
