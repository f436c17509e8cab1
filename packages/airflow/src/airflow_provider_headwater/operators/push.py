"""Records from a task into Headwater."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_headwater import calls
from airflow_provider_headwater.calls import OnChange, OnMissing
from airflow_provider_headwater.hooks import HeadwaterHook

if TYPE_CHECKING:
    from airflow.sdk import Context

#: What the server takes in one request at most, with room for its envelope.
_MOST_WRITES = 10_000
_MOST_BYTES = 8 << 20

Records = Iterable[Mapping[str, Any]]


class HeadwaterPushOperator(BaseOperator):
    """Write records, durably, in batches that are applied as a whole and once.

    Each record is ``{"key": …, "value": {field: value}}``, and may have ``version`` (as it was read: the write is then
    merged with what others wrote since, by each field's policy), ``op``, ``if_changed`` and ``if_missing``. Batches carry
    an idempotency key made of the run, the task and their content: after a crash of the worker or the server, the task's
    next try gets the first answer for the batches that are applied. So does a task that is cleared and gives the same
    records: nothing is written again over what people wrote since.

    The XCom is ``{"records": n, "batches": n}``.

    :param database: the database's id. (templated)
    :param collection: the collection. (templated)
    :param records: the records, or JSON of a list of them, such as ``{{ ti.xcom_pull(task_ids='ask') | tojson }}``.
        (templated)
    :param python_callable: a function that is called with the context and returns or yields the records, instead.
    :param files: files with a record a line, instead of ``records``: a path, a list, or JSON of a list, such as
        ``{{ ti.xcom_pull(task_ids='pull')['files'] | tojson }}``. (templated)
    :param op: ``patch`` sets the fields of ``value`` in a record that is there, and leaves the others; ``put`` makes the
        record exactly ``value``, also if there is none; ``delete`` deletes it.
    :param if_changed: ``merge`` or ``fail``: what happens to a write whose record changed since its ``version``.
    :param if_missing: ``fail`` or ``skip``: what happens to a patch whose record is not there, such as one that someone
        deleted meanwhile. If it fails, its whole batch does.
    :param origin: who the changes say they are from; pull with ``exclude_origin`` of the same leaves them out. (templated)
    :param batch_size: the most records of a batch, up to 10,000.
    :param headwater_conn_id: the connection. (templated)
    """

    template_fields: Sequence[str] = ("database", "collection", "records", "files", "origin", "headwater_conn_id")
    ui_color = "#d5f0d0"

    def __init__(
        self,
        *,
        database: str,
        collection: str,
        records: Records | str | None = None,
        python_callable: Callable[..., Records] | None = None,
        files: Sequence[str] | str | None = None,
        op: Literal["patch", "put", "delete"] = "patch",
        if_changed: OnChange | None = None,
        if_missing: OnMissing | None = None,
        origin: str = "airflow:{{ dag.dag_id }}",
        batch_size: int = 2_000,
        headwater_conn_id: str = HeadwaterHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.database = database
        self.collection = collection
        self.records = records
        self.python_callable = python_callable
        self.files = files
        self.op = op
        self.if_changed = if_changed
        self.if_missing = if_missing
        self.origin = origin
        self.batch_size = batch_size
        self.headwater_conn_id = headwater_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Write all records; what is returned is durable."""
        if not 1 <= self.batch_size <= _MOST_WRITES:
            raise AirflowFailException(f"batch_size is {self.batch_size}: choose 1 to {_MOST_WRITES}")
        if [self.records, self.python_callable, self.files].count(None) != 2:
            raise AirflowFailException("give one of records, python_callable and files")
        instance = context["ti"]
        run = f"{instance.dag_id}\0{instance.task_id}\0{instance.run_id}\0{instance.map_index}"
        written = {"records": 0, "batches": 0}
        with HeadwaterHook(self.headwater_conn_id).client() as client:
            for number, batch in enumerate(_batches(self._writes(context), self.batch_size)):
                key = _key(run, number, self.database, batch)
                client.run(calls.writes(self.database, batch, key=key, origin=self.origin))
                written = {"records": written["records"] + len(batch), "batches": number + 1}
        self.log.info("%s records in %s batches", written["records"], written["batches"])
        return written

    def _writes(self, context: Context) -> Iterator[dict[str, Any]]:
        defaults = {"op": self.op, "collection": self.collection, "if_changed": self.if_changed}
        for number, record in enumerate(self._records(context)):
            if not isinstance(record, Mapping):
                raise AirflowFailException(f"record {number} is a {type(record).__name__}: a record has a key and a value")
            key = record.get("key")
            if not isinstance(key, str) or not key:
                raise AirflowFailException(f"record {number} has the key {key!r}: a key is a text that is not empty")
            write = {**defaults, **record}
            if write["op"] == "patch":
                write.setdefault("if_missing", self.if_missing)
            yield {name: value for name, value in write.items() if value is not None}

    def _records(self, context: Context) -> Records:
        if self.python_callable is not None:
            return self.python_callable(**context)
        if self.files is not None:
            files = [self.files] if isinstance(self.files, str) and self.files[:1] != "[" else _listed("files", self.files)
            return _lines(files)
        return _listed("records", self.records)


def _listed(name: str, given: Any) -> Any:
    """What was given for an argument, which may be a template that was rendered as text."""
    if not isinstance(given, str):
        return given
    try:
        listed = json.loads(given)
    except ValueError as error:
        why = f"{name} is a text that is not JSON: {error}"
        raise AirflowFailException(f"{why}; end the template with '| tojson', or render_template_as_native_obj") from error
    if not isinstance(listed, list):
        raise AirflowFailException(f"{name} is not a list: {given[:100]}")
    return listed


def _lines(files: Sequence[str]) -> Iterator[dict[str, Any]]:
    for file in files:
        with Path(file).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise AirflowFailException(f"line {number} of {file} is not JSON: {error}") from error


def _size(write: Mapping[str, Any]) -> int:
    """How long a write is in a request, in bytes."""
    try:
        return len(json.dumps(write, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        why = f"the record {write['key']!r} cannot be written as JSON: {error}"
        raise AirflowFailException(f"{why}; give numbers that are finite, and times and decimals as texts") from error


def _batches(writes: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    keys: set[str] = set()
    room = _MOST_BYTES
    for write in writes:
        length = _size(write)
        # A batch writes a record once: the second time is for the next one.
        if batch and (len(batch) >= size or length > room or write["key"] in keys):
            yield batch
            batch, keys, room = [], set(), _MOST_BYTES
        batch.append(write)
        keys.add(write["key"])
        room -= length
    if batch:
        yield batch


def _key(run: str, number: int, database: str, batch: Sequence[Mapping[str, Any]]) -> str:
    digest = hashlib.sha256(f"{run}\0{number}\0{database}\0".encode())
    digest.update(json.dumps(batch, sort_keys=True, ensure_ascii=False).encode())
    return digest.hexdigest()
