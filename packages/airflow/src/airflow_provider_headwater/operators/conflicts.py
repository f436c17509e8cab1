"""What lost when people and programs wrote the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_headwater import calls
from airflow_provider_headwater.errors import HeadwaterRefused
from airflow_provider_headwater.hooks import HeadwaterHook

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_headwater.client import Client

#: Returns ``{"accept": True}``, ``{"keep": id of a loser}``, ``{"write": value}``, or None to leave it to people.
Decide = Callable[[dict[str, Any]], dict[str, Any] | None]


def accept(conflict: dict[str, Any]) -> dict[str, Any]:
    """Settle every conflict for what is shown."""
    return {"accept": True}


class HeadwaterSettleConflictsOperator(BaseOperator):
    """Settle conflicts as a function decides; those that it leaves stay for people.

    The XCom is ``{"settled": n, "left": n}``.

    :param database: the database's id. (templated)
    :param collection: the collection. (templated)
    :param decide: gets a conflict as the API lists it and returns ``{"accept": True}`` to keep what is shown,
        ``{"keep": id}`` to take a value that lost, ``{"write": value}`` for another one, or None to leave it.
    :param origin: who the settlement says it is from. (templated)
    :param headwater_conn_id: the connection. (templated)
    """

    template_fields: Sequence[str] = ("database", "collection", "origin", "headwater_conn_id")
    ui_color = "#f0d5d0"

    def __init__(
        self,
        *,
        database: str,
        collection: str,
        decide: Decide = accept,
        origin: str = "airflow:{{ dag.dag_id }}",
        headwater_conn_id: str = HeadwaterHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.database = database
        self.collection = collection
        self.decide = decide
        self.origin = origin
        self.headwater_conn_id = headwater_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """Settle."""
        settled = left = 0
        with HeadwaterHook(self.headwater_conn_id).client() as client:
            for conflict in self._conflicts(client):
                decision = self.decide(conflict)
                if decision is None:
                    left += 1
                    continue
                place = {name: conflict[name] for name in ("collection", "key", "path")}
                settled += self._settle(client, {**place, **decision})
        self.log.info("%s conflicts settled, %s left", settled, left)
        return {"settled": settled, "left": left}

    def _settle(self, client: Client, how: dict[str, Any]) -> bool:
        """Return whether it was there to be settled; someone else, or this task's last try, may have been sooner."""
        try:
            client.run(calls.settle(self.database, how, origin=self.origin))
        except HeadwaterRefused as refused:
            if refused.code == "nothing-to-settle":
                return False
            raise
        return True

    def _conflicts(self, client: Client) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            page = client.run(calls.conflicts(self.database, self.collection, after=after, limit=500))
            yield from page["conflicts"]
            after = page.get("next")
            if after is None:
                return
