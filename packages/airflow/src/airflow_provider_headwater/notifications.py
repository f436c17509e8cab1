"""Telling the people who edit the records how a run went, where they are: in a collection."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from airflow_provider_headwater import calls
from airflow_provider_headwater.hooks import HeadwaterHook

if TYPE_CHECKING:
    from airflow.sdk import Context

#: The most of an exception's text that a notice has, in characters.
_LONGEST = 1_000


class HeadwaterNotifier(BaseNotifier):
    """Write a notice into a collection; for ``on_failure_callback`` and its like.

    The record has ``dag``, ``task``, ``run``, ``try``, ``map_index`` (of a mapped task), ``state``, ``message``,
    ``error`` and ``at``. The same event twice is one record.

    :param database: the database's id. (templated)
    :param collection: the collection. (templated)
    :param message: what to tell. (templated)
    :param state: the kind of notice, such as ``failed``. (templated)
    :param origin: who the change says it is from. (templated)
    :param headwater_conn_id: the connection; for failures better one with a token of its own. (templated)
    """

    template_fields: Sequence[str] = ("database", "collection", "message", "state", "origin", "headwater_conn_id")

    def __init__(
        self,
        *,
        database: str,
        collection: str = "airflow_notices",
        message: str = "{{ ti.task_id ~ ' in ' if ti else '' }}{{ dag.dag_id }} failed",
        state: str = "failed",
        origin: str = "airflow:{{ dag.dag_id }}",
        headwater_conn_id: str = HeadwaterHook.default_conn_name,
    ) -> None:
        super().__init__()
        self.database = database
        self.collection = collection
        self.message = message
        self.state = state
        self.origin = origin
        self.headwater_conn_id = headwater_conn_id

    def notify(self, context: Context) -> None:
        """Write the notice."""
        HeadwaterHook(self.headwater_conn_id).run(self._call(context))

    async def async_notify(self, context: Context) -> None:
        """Write the notice without blocking."""
        async with HeadwaterHook(self.headwater_conn_id).async_client() as client:
            await client.run(self._call(context))

    def _call(self, context: Context) -> calls.Call:
        fields: dict[str, Any] = {"state": self.state, "message": self.message}
        instance = context.get("ti")
        if instance is not None:
            fields["dag"] = instance.dag_id
            fields["task"] = instance.task_id
            fields["run"] = instance.run_id
            fields["try"] = instance.try_number
            if instance.map_index is not None and instance.map_index >= 0:
                fields["map_index"] = instance.map_index
        else:
            # A callback of a DAG.
            fields["dag"] = context["dag"].dag_id
            fields["run"] = context["run_id"]
        exception = context.get("exception")
        if exception is not None:
            fields["error"] = str(exception)[:_LONGEST]
        key = hashlib.sha256(repr(sorted(fields.items())).encode()).hexdigest()[:32]
        fields["at"] = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        # A put of the key that the event has: a second one replaces the first by the same.
        write = {"op": "put", "collection": self.collection, "key": key, "value": fields}
        return calls.writes(self.database, [write], key=f"notice-{key}-{fields['at']}", origin=self.origin)
