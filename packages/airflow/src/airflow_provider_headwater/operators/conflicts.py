"""What lost when people and programs wrote the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import BaseOperator

from airflow_provider_headwater import calls
from airflow_provider_headwater.errors import HeadwaterRefused
from airflow_provider_headwater.hooks import HeadwaterHook

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_headwater.client import Client

#: Returns ``{"accept": True}``, ``{"keep": id of a loser}``, ``{"write": value}``, or None to leave it to people.
Decide = Callable[[dict[str, Any]], dict[str, Any] | None]
Outcome = Literal["settled", "left", "changed"]

#: Someone else, or this task's last try, was sooner.
_OVERTAKEN = frozenset({"changed", "nothing-to-settle"})
#: How often conflicts are listed and decided at most, where people write meanwhile.
_ROUNDS = 5


def accept(conflict: dict[str, Any]) -> dict[str, Any]:
    """Settle every conflict for what is shown."""
    return {"accept": True}


class HeadwaterSettleConflictsOperator(BaseOperator):
    """Settle conflicts as a function decides; those that it leaves stay for people.

    What was written after a conflict was listed is not settled unseen: the conflict is then listed and decided again.

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
            for _ in range(_ROUNDS):
                outcomes = Counter(self._outcomes(client))
                settled += outcomes["settled"]
                left = outcomes["left"] + outcomes["changed"]
                if not outcomes["changed"]:
                    break
        self.log.info("%s conflicts settled, %s left", settled, left)
        return {"settled": settled, "left": left}

    def _outcomes(self, client: Client) -> Iterator[Outcome]:
        # What was settled in a record is seen by who settles the next field of it.
        own: tuple[str, str] | None = None
        for conflict in self._conflicts(client):
            decision = self.decide(conflict)
            if decision is None:
                yield "left"
                continue
            version = own[1] if own and own[0] == conflict["key"] else conflict["version"]
            place = {name: conflict[name] for name in ("collection", "key", "path")}
            how = {**place, "version": version, "if_changed": "fail", **decision}
            try:
                answer = client.run(calls.settle(self.database, how, origin=self.origin))
            except HeadwaterRefused as refused:
                if refused.code not in _OVERTAKEN:
                    raise
                yield "changed"
                continue
            own = conflict["key"], answer["version"]
            yield "settled"

    def _conflicts(self, client: Client) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            page = client.run(calls.conflicts(self.database, self.collection, after=after, limit=500))
            yield from page["conflicts"]
            after = page.get("next")
            if after is None:
                return
