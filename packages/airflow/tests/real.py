"""The real programs: a Headwater server and a Drillbit, on free ports and in folders of their own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[3]
COMMAND = os.environ.get("HEADWATER", str(ROOT / "target/debug/headwater"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, seconds=60, what="the condition"):
    """Wait until `condition()` is true, and return what it was."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come in {seconds} s"
        time.sleep(0.05)
    return found


class Server:
    """`headwater serve`, which can be killed and started again on the same port and folders."""

    def __init__(self, folder=None):
        self.own = None if folder else Path(tempfile.mkdtemp(prefix="headwater-airflow-server-"))
        self.folder = Path(folder or self.own)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    @property
    def lake(self):
        return self.folder / "lake"

    def start(self, *arguments):
        command = [COMMAND, "serve", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--data", str(self.folder / "data"), "--lake", str(self.lake), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._is_up, what="the server")
        return self

    def _is_up(self):
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}"
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5)
        except httpx.TransportError:
            return False

    def stop(self, with_signal=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(with_signal)
            self.process.wait(60)

    def kill(self):
        self.stop(signal.SIGKILL)

    def close(self):
        self.kill()
        if self.own:
            shutil.rmtree(self.own, ignore_errors=True)


class Drillbit:
    """`headwater drill start` over a lake."""

    def __init__(self, lake):
        command = [COMMAND, "drill", "start", "--lake", str(lake), "--json"]
        command += ["--port", "0", "--user-port", "0", "--bit-port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        assert line, "no Drillbit: `headwater drill start` says why"
        self.addresses = json.loads(line)

    @property
    def url(self):
        return self.addresses["url"]

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
