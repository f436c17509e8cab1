"""Changes from Headwater into files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import BaseOperator

from airflow_provider_headwater import calls, pages
from airflow_provider_headwater.errors import CursorExpired, HeadwaterRefused, HeadwaterUnavailable
from airflow_provider_headwater.hooks import HeadwaterHook

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_headwater.client import Client

#: What the server takes as the name of a holder, in bytes.
_LONGEST_HOLDER = 200

OnExpired = Literal["fail", "snapshot", "oldest"]


class HeadwaterPullOperator(BaseOperator):
    """Write what changed since the last run into files, then move the consumer on.

    Each page becomes ``<directory>/<cursor of its beginning>.<hash of the consumer>.jsonl``, one change a line with
    ``id``, ``collection``, ``key``, ``op`` (``insert``, ``update``, ``delete``), ``before``, ``after``, ``who``,
    ``origin``, ``at`` and ``cursor``. The file is on the disk before the cursor is committed. A worker that dies in
    between leaves a file that the next run replaces, so that no change is missing or there twice. What the tries of a
    run have pulled is noted in ``<directory>/.run-<hash>`` before it is committed, and the XCom of the last one tells
    of all of it.

    The XCom is small: ``{"files": [paths], "snapshot": [paths], "changes": n, "cursor": c, "more": bool}``.

    :param database: the database's id. (templated)
    :param consumer: the name under which the server keeps the place. (templated)
    :param directory: the folder of the files. (templated)
    :param collection: the collection to follow; all of them if not given. Fixed when the consumer is created. (templated)
    :param exclude_origin: the origin whose changes are left out, such as that of this DAG's own pushes. Fixed when the
        consumer is created. (templated)
    :param start: where a new consumer begins: ``beginning`` with the oldest change that the server keeps, ``snapshot``
        with all records as with ``on_expired``, ``head`` with what changes from now on, or a cursor. (templated)
    :param page_size: the most changes in one file.
    :param max_pages: the most files of one run; ``more`` in the XCom tells that changes are left.
    :param lease_s: seconds for which a page is this task's alone.
    :param on_expired: what to do if changes were dropped before they were pulled: ``fail`` says what to do;
        ``snapshot`` writes all records, as changes with the op ``snapshot``, into files that replace all that was
        pulled before, and goes on from where it began to; ``oldest`` goes on with the oldest change that is kept,
        which leaves a gap.
    :param headwater_conn_id: the connection. (templated)
    """

    template_fields: Sequence[str] = (
        "database",
        "consumer",
        "directory",
        "collection",
        "exclude_origin",
        "start",
        "headwater_conn_id",
    )
    ui_color = "#cfe8f3"

    def __init__(
        self,
        *,
        database: str,
        consumer: str,
        directory: str,
        collection: str | None = None,
        exclude_origin: str | None = None,
        start: str = "beginning",
        page_size: int = 5_000,
        max_pages: int = 1_000,
        lease_s: int = 300,
        on_expired: OnExpired = "fail",
        headwater_conn_id: str = HeadwaterHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.database = database
        self.consumer = consumer
        self.directory = directory
        self.collection = collection
        self.exclude_origin = exclude_origin
        self.start = start
        self.page_size = page_size
        self.max_pages = max_pages
        self.lease_s = lease_s
        self.on_expired = on_expired
        self.headwater_conn_id = headwater_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Pull until nothing is left, or until ``max_pages``."""
        instance = context["ti"]
        # Without the run: what a run that died has leased is for the next one.
        name = f"{instance.dag_id}/{instance.task_id}/{instance.map_index}"
        holder = name if len(name.encode()) <= _LONGEST_HOLDER else hashlib.sha256(name.encode()).hexdigest()
        journal = self._journal(instance)
        with HeadwaterHook(self.headwater_conn_id).client() as client:
            self._ensure(client, journal)
            try:
                last = self._pull(client, holder, journal)
            except CursorExpired as expired:
                self._recover(client, expired, journal)
                last = self._pull(client, holder, journal)
        files, changes = list(journal.pages), sum(journal.pages.values())
        self.log.info("%s changes in %s files, up to %s", changes, len(files), last["cursor"])
        return {
            "files": files,
            "snapshot": journal.snapshot,
            "changes": changes,
            "cursor": last["cursor"],
            "more": last["more"],
        }

    def _journal(self, instance: Any) -> pages.Journal:
        run = "\0".join(
            str(part)
            for part in (instance.dag_id, instance.task_id, instance.run_id, instance.map_index, self.database, self.consumer)
        )
        return pages.Journal(Path(self.directory) / f"{pages.JOURNAL}{hashlib.sha256(run.encode()).hexdigest()}")

    def _ensure(self, client: Client, journal: pages.Journal) -> None:
        """Have the consumer, with a snapshot before it is made if asked to."""
        if self.start != calls.SNAPSHOT:
            client.run(self._creation(self.start))
            return
        try:
            client.run(calls.consumer(self.database, self.consumer))
        except HeadwaterRefused as refused:
            if refused.code != calls.UNKNOWN_CONSUMER:
                raise
            client.run(self._creation(self._snapshot(client, journal)))

    def _creation(self, start: str) -> calls.Call:
        return calls.ensure_consumer(
            self.database, self.consumer, start=start, collection=self.collection, exclude_origin=self.exclude_origin
        )

    def _pull(self, client: Client, holder: str, journal: pages.Journal) -> Mapping[str, Any]:
        """Pull into files; returns the last page."""
        while True:
            page = self._waiting_for_lease(
                client,
                calls.pull(self.database, self.consumer, limit=self.page_size, lease_s=self.lease_s, holder=holder),
            )
            if page["changes"]:
                path = self._path(page["from"])
                left = path.exists()
                journal.add_page(path, pages.write(path, page["changes"]))
                if left:
                    journal.take_over(path)
            # Without a lease there is nothing but what is left out, which the server will not look at again for long.
            if page.get("lease"):
                self._waiting_for_lease(client, calls.commit(self.database, self.consumer, page["cursor"]))
            if not page["more"] or len(journal.pages) >= self.max_pages:
                return page

    def _path(self, cursor: str) -> Path:
        return Path(self.directory) / pages.file_name(cursor, self.database, self.consumer)

    def _waiting_for_lease(self, client: Client, call: calls.Call) -> Any:
        """Run a call; that another one has the page ends by itself, so then another try can help."""
        try:
            return client.run(call)
        except HeadwaterRefused as refused:
            if refused.code in {"leased", "not-leased"}:
                raise HeadwaterUnavailable(str(refused)) from refused
            raise

    def _recover(self, client: Client, expired: CursorExpired, journal: pages.Journal) -> None:
        """Put the consumer where changes can be had, with a snapshot if asked to."""
        if self.on_expired == "fail":
            raise type(expired)(
                f"{expired}. Changes were dropped before consumer {self.consumer!r} of {self.database} pulled them. Run this "
                "task with on_expired='snapshot' to begin anew with all records, or with 'oldest' to accept the gap.",
                status=expired.status,
                code=expired.code,
                details=expired.details,
            ) from expired
        if self.on_expired == "oldest":
            self.log.warning("%s; going on with the oldest change that is kept", expired)
            client.run(calls.reset(self.database, self.consumer, "beginning"))
            return
        self.log.warning("%s; writing all records", expired)
        client.run(calls.reset(self.database, self.consumer, self._snapshot(client, journal)))

    def _snapshot(self, client: Client, journal: pages.Journal) -> str:
        """Write all records; returns the cursor to go on from."""
        # First, so that what changes while the records are read comes again as a change.
        head: str = client.run(calls.head(self.database))["cursor"]
        journal.add_snapshot(list(self._records(client, head)))
        return head

    def _records(self, client: Client, head: str) -> Iterator[str]:
        """Write all records into files; gives their paths."""
        there = [entry["name"] for entry in client.run(calls.collections(self.database))["collections"]]
        number = 0
        for name in there:
            if self.collection not in {None, name}:
                continue
            after: str | None = None
            while True:
                page = client.run(calls.records(self.database, name, after=after, limit=1_000))
                rows = [
                    {"collection": name, "key": record["key"], "op": "snapshot", "after": record["value"]}
                    for record in page["records"]
                ]
                if rows:
                    path = self._path(f"snapshot-{head}-{number:06}")
                    pages.write(path, rows)
                    number += 1
                    yield str(path)
                after = page.get("next")
                if after is None:
                    break
