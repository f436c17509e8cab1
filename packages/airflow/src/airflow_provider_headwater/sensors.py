"""Waiting for changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.configuration import conf

from airflow_provider_headwater import calls
from airflow_provider_headwater.errors import CursorExpired, HeadwaterRefused
from airflow_provider_headwater.hooks import HeadwaterHook
from airflow_provider_headwater.triggers import HeadwaterChangeTrigger

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.sdk import Context

    from airflow_provider_headwater.client import Client


class HeadwaterChangeSensor(BaseSensorOperator):
    """Wait until a consumer has something to pull.

    :param database: the database's id. (templated)
    :param consumer: the consumer's name; it is created if it does not exist, with ``start="snapshot"`` by the pull.
        (templated)
    :param collection: as for :class:`~airflow_provider_headwater.operators.pull.HeadwaterPullOperator`. (templated)
    :param exclude_origin: likewise. (templated)
    :param start: likewise. (templated)
    :param deferrable: wait in the triggerer, without a worker.
    :param headwater_conn_id: the connection. (templated)
    """

    template_fields: Sequence[str] = (
        "database",
        "consumer",
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
        collection: str | None = None,
        exclude_origin: str | None = None,
        start: str = "beginning",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        headwater_conn_id: str = HeadwaterHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.database = database
        self.consumer = consumer
        self.collection = collection
        self.exclude_origin = exclude_origin
        self.start = start
        self.deferrable = deferrable
        self.headwater_conn_id = headwater_conn_id

    def execute(self, context: Context) -> Any:
        """Look, and wait if there is nothing."""
        if self.start != calls.SNAPSHOT:
            creation = calls.ensure_consumer(
                self.database,
                self.consumer,
                start=self.start,
                collection=self.collection,
                exclude_origin=self.exclude_origin,
            )
            HeadwaterHook(self.headwater_conn_id).run(creation)
        if not self.deferrable:
            super().execute(context)
        elif not self.poke(context):
            self.defer(
                trigger=HeadwaterChangeTrigger(self.database, self.consumer, self.headwater_conn_id),
                method_name="execute_complete",
                timeout=_timeout(self.timeout),
            )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Go on after the trigger fired."""
        if event["status"] == "refused":
            raise HeadwaterRefused(event["message"], status=0, code="refused")

    def poke(self, context: Context) -> bool:
        """Return whether there is something to pull."""
        try:
            with HeadwaterHook(self.headwater_conn_id).client() as client:
                return self._has_news(client)
        except CursorExpired:
            # There is much to do, and the pull says what.
            return True
        except HeadwaterRefused as refused:
            if self.start == calls.SNAPSHOT and refused.code == calls.UNKNOWN_CONSUMER:
                return True
            raise

    def _has_news(self, client: Client) -> bool:
        place = client.run(calls.consumer(self.database, self.consumer))
        cursor = place["committed"]
        while True:
            page = client.run(
                calls.changes(
                    self.database,
                    cursor=cursor,
                    limit=1,
                    collection=place.get("collection"),
                    exclude_origin=place.get("exclude_origin"),
                )
            )
            if page["changes"] or not page["more"]:
                return bool(page["changes"])
            cursor = page["cursor"]


def _timeout(seconds: float | None) -> timedelta | None:
    from datetime import timedelta  # noqa: PLC0415 (only needed to wait)

    return None if seconds is None else timedelta(seconds=seconds)
