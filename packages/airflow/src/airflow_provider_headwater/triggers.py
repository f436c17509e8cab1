"""What waits in the triggerer: for a sensor, and for an asset's watcher."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_provider_headwater import calls
from airflow_provider_headwater.client import AsyncClient
from airflow_provider_headwater.errors import CursorExpired, HeadwaterRefused
from airflow_provider_headwater.hooks import HeadwaterHook

#: The longest that a server holds an answer back, in seconds.
LONGEST_WAIT = 60
#: The longest between two tries, in seconds, unless the server asks for more.
_LONGEST_PAUSE = 60


class _Pauses:
    """How long to wait after failures: longer each time, or for as long as the server asks."""

    def __init__(self) -> None:
        self._next = 1.0

    def worked(self) -> None:
        """Begin anew."""
        self._next = 1.0

    def after(self, error: Exception) -> float:
        """Seconds until the next try."""
        pause = max(self._next, getattr(error, "retry_after", None) or 0)
        self._next = min(2 * self._next, _LONGEST_PAUSE)
        return pause


async def committed(client: AsyncClient, database: str, consumer: str) -> dict[str, Any]:
    """Return where a consumer is."""
    return await client.run(calls.consumer(database, consumer))


async def has_news(client: AsyncClient, database: str, place: dict[str, Any], wait: int) -> bool:
    """Wait up to ``wait`` seconds for a change that the consumer would pull."""
    deadline = time.monotonic() + wait
    cursor = place["committed"]
    while True:
        left = max(0, min(LONGEST_WAIT, round(deadline - time.monotonic())))
        page = await client.run(
            calls.changes(
                database,
                cursor=cursor,
                limit=1,
                wait=left,
                collection=place.get("collection"),
                exclude_origin=place.get("exclude_origin"),
            )
        )
        if page["changes"]:
            return True
        # Past what is left out: the committed cursor stays, as only a pull moves it.
        cursor = page["cursor"]
        if left == 0 and not page["more"]:
            return False


class HeadwaterChangeTrigger(BaseTrigger):
    """Fires once a consumer has something to pull; for :class:`~airflow_provider_headwater.sensors.HeadwaterChangeSensor`.

    :param database: the database's id.
    :param consumer: the consumer's name; it must exist.
    :param headwater_conn_id: the connection.
    """

    def __init__(self, database: str, consumer: str, headwater_conn_id: str) -> None:
        super().__init__()
        self.database = database
        self.consumer = consumer
        self.headwater_conn_id = headwater_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path and arguments of this trigger."""
        return f"{__name__}.HeadwaterChangeTrigger", {
            "database": self.database,
            "consumer": self.consumer,
            "headwater_conn_id": self.headwater_conn_id,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for news; an event says whether there are any or what stands in the way for good."""
        pauses = _Pauses()
        while True:
            try:
                async with HeadwaterHook(self.headwater_conn_id).async_client() as client:
                    place = await committed(client, self.database, self.consumer)
                    if await has_news(client, self.database, place, LONGEST_WAIT):
                        yield TriggerEvent({"status": "news"})
                        return
                    pauses.worked()
            except CursorExpired:
                # There is much to do, and the pull says what.
                yield TriggerEvent({"status": "news"})
                return
            except AirflowFailException as error:
                yield TriggerEvent({"status": "refused", "message": str(error)})
                return
            except AirflowException as error:
                pause = pauses.after(error)
                self.log.warning("%s; next try in %.0f s", error, pause)
                await asyncio.sleep(pause)


class HeadwaterAssetTrigger(BaseEventTrigger):
    """Rings for an asset while its consumer has something to pull; for an ``AssetWatcher``.

    It is a doorbell and brings no data: the run that it causes pulls. It looks at the cursor that the pull has
    committed, so an event that is lost or comes twice costs nothing: while there is something to pull it rings again
    after ``remind_s``, and a run that finds nothing ends at once.

    Each asset needs a consumer of its own, which keeps the triggers of two assets apart. With ``exclude_origin`` of
    its DAG's pushes a DAG does not cause itself.

    :param database: the database's id.
    :param consumer: the consumer's name; it is created if it does not exist, with ``start="snapshot"`` by the pull.
    :param collection: as for :class:`~airflow_provider_headwater.operators.pull.HeadwaterPullOperator`.
    :param exclude_origin: likewise.
    :param start: likewise.
    :param remind_s: seconds after which it rings again if nothing was pulled.
    :param headwater_conn_id: the connection.
    """

    def __init__(
        self,
        database: str,
        consumer: str,
        collection: str | None = None,
        exclude_origin: str | None = None,
        start: str = "beginning",
        remind_s: float = 300,
        headwater_conn_id: str = HeadwaterHook.default_conn_name,
    ) -> None:
        super().__init__()
        self.database = database
        self.consumer = consumer
        self.collection = collection
        self.exclude_origin = exclude_origin
        self.start = start
        self.remind_s = remind_s
        self.headwater_conn_id = headwater_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path and arguments of this trigger."""
        names = (
            "database",
            "consumer",
            "collection",
            "exclude_origin",
            "start",
            "remind_s",
            "headwater_conn_id",
        )
        return f"{__name__}.HeadwaterAssetTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ring whenever there is something to pull, for ever. Failures are logged and tried again."""
        pauses = _Pauses()
        while True:
            try:
                async with HeadwaterHook(self.headwater_conn_id).async_client() as client:
                    await self._ensure(client)
                    async for event in self._ring(client, pauses):
                        yield event
            # For good or not: tokens are replaced, connections mended and consumers made anew while triggers wait, and
            # nobody would start one again that has ended.
            except Exception as error:
                pause = pauses.after(error)
                why = str(error) if isinstance(error, AirflowException) else repr(error)
                self.log.error("%s %s: %s; next try in %.0f s", self.database, self.consumer, why, pause)
                await asyncio.sleep(pause)

    async def _ensure(self, client: AsyncClient) -> None:
        if self.start == calls.SNAPSHOT:
            # The pull makes it, after the snapshot.
            return
        await client.run(
            calls.ensure_consumer(
                self.database,
                self.consumer,
                start=self.start,
                collection=self.collection,
                exclude_origin=self.exclude_origin,
            )
        )

    async def _ring(self, client: AsyncClient, pauses: _Pauses) -> AsyncIterator[TriggerEvent]:
        while True:
            place = await self._place(client)
            try:
                news = place is None or await has_news(client, self.database, place, LONGEST_WAIT)
            except CursorExpired as expired:
                self.log.warning("%s; the pull says what to do", expired)
                news = True
            pauses.worked()
            if news:
                rung = place["committed"] if place else None
                yield TriggerEvent({"database": self.database, "consumer": self.consumer, "committed": rung})
                await self._pulled(client, rung)

    async def _place(self, client: AsyncClient) -> dict[str, Any] | None:
        """Where the consumer is; None if a pull has yet to make it."""
        try:
            return await committed(client, self.database, self.consumer)
        except HeadwaterRefused as refused:
            if self.start == calls.SNAPSHOT and refused.code == calls.UNKNOWN_CONSUMER:
                return None
            raise

    async def _pulled(self, client: AsyncClient, rung: str | None) -> None:
        """Wait until the pull has moved on, or until it is time to ring again."""
        deadline = time.monotonic() + self.remind_s
        while time.monotonic() < deadline:
            await asyncio.sleep(1)
            place = await self._place(client)
            if (place["committed"] if place else None) != rung:
                return
