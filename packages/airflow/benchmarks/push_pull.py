"""What the provider's push and pull cost against a real server.

    HEADWATER=target/release/headwater python packages/airflow/benchmarks/push_pull.py [RECORDS]

Starts a server of its own, pushes RECORDS (100,000) records of about 100 bytes, durably, waits until they are in the feed, and
pulls their changes into files. Prints seconds, and the memory (RSS, MiB) of both sides after a tenth and at the end: what stays
the same does not grow with the number of records. Ends with 1 if a limit is missed.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="headwater-airflow-"))
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")

from airflow.sdk import Connection
from real import Server

from airflow_provider_headwater import calls
from airflow_provider_headwater.hooks import HeadwaterHook
from airflow_provider_headwater.operators import HeadwaterPullOperator, HeadwaterPushOperator

#: Seconds for 100,000.
PUSH_LIMIT, PULL_LIMIT = 60, 20
#: Batches and pages of this size; the memory is for so many records, not for all.
PAGE = 5_000


def memory(pid):
    """Resident memory in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) >> 10


def main(count):
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        server = Server(Path(folder) / "server").start()
        try:
            return measure(server, count, Path(folder) / "files")
        finally:
            server.close()


def measure(server, count, folder):
    os.environ["AIRFLOW_CONN_HEADWATER_DEFAULT"] = Connection(
        conn_id="headwater_default", conn_type="headwater", host=server.url
    ).as_json()
    hook = HeadwaterHook()
    database = hook.run(calls.create_database())["id"]
    context = {"ti": SimpleNamespace(dag_id="bench", task_id="t", run_id="r", map_index=-1)}
    seen = {}

    def note(what):
        seen[what] = (memory(os.getpid()), memory(server.process.pid))

    def records(**_):
        for n in range(count):
            if n == count // 10:
                note("push, a tenth")
            yield {"key": f"key-{n:07}", "value": {"number": n, "name": f"record {n}", "text": "x" * 60}}

    push = HeadwaterPushOperator(
        task_id="push",
        database=database,
        collection="items",
        python_callable=records,
        op="put",
        batch_size=PAGE,
        origin="bench",
    )
    begun = time.monotonic()
    push.execute(context)
    pushed = time.monotonic() - begun
    note("push, all")
    begun = time.monotonic()
    hook.run(calls.publish())
    published = time.monotonic() - begun

    def pull(pages):
        return HeadwaterPullOperator(
            task_id="pull", database=database, consumer="bench", directory=str(folder), page_size=PAGE, max_pages=pages
        ).execute(context)

    begun = time.monotonic()
    first = pull(max(1, count // PAGE // 10))
    note("pull, a tenth")
    rest = pull(1_000)
    pulled = time.monotonic() - begun
    note("pull, all")
    assert first["changes"] + rest["changes"] == count, (first, rest)
    scale = count / 100_000
    print(f"{count} records pushed, durable: {pushed:.1f} s (limit {PUSH_LIMIT * scale:.0f} s)")
    print(f"in the feed after {published:.1f} s more")
    print(f"{count} changes pulled to files: {pulled:.1f} s (limit {PULL_LIMIT * scale:.0f} s)")
    for what, (ours, theirs) in seen.items():
        print(f"{what:<14} task {ours:>5} MiB, server {theirs:>5} MiB")
    return 0 if pushed < PUSH_LIMIT * scale and pulled < PULL_LIMIT * scale else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
