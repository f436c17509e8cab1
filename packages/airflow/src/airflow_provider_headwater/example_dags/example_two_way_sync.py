"""Answer what people enter: each order gets its total, at once, and by an hourly sweep in case an event was lost."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable

from airflow_provider_headwater.operators import HeadwaterPullOperator, HeadwaterPushOperator
from airflow_provider_headwater.triggers import HeadwaterAssetTrigger

DATABASE = os.environ.get("HEADWATER_DATABASE", "your-database-id")
FILES = os.environ.get("HEADWATER_FILES", "/tmp/headwater")
NAME = "headwater_two_way_sync"

feed: dict[str, Any] = {
    "database": DATABASE,
    "consumer": "orders",
    "collection": "orders",
    # Also what was there long before.
    "start": "snapshot",
    # Without this, its own totals would be news to it, and it would never end.
    "exclude_origin": f"airflow:{NAME}",
}
orders = Asset("headwater_orders", watchers=[AssetWatcher(name="orders", trigger=HeadwaterAssetTrigger(**feed))])
schedule = AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 * * * *", timezone="UTC"), assets=[orders])


def total(order: dict[str, Any]) -> float | None:
    """Quantity times price; nothing where people entered no numbers, so that the totals of others do not wait for it."""
    quantity, price = order.get("quantity"), order.get("price")
    if not isinstance(quantity, (int, float)) or not isinstance(price, (int, float)):
        return None
    product = quantity * price
    return product if abs(product) < 2**53 else None


def totals(ti: Any, **_: Any) -> Iterator[dict[str, Any]]:
    """The total of each order that changed; of several changes the last one counts."""
    pulled = ti.xcom_pull(task_ids="pull")
    latest = {}
    for path in pulled["snapshot"] + pulled["files"]:
        with Path(path).open(encoding="utf-8") as lines:
            for line in lines:
                change = json.loads(line)
                latest[change["key"]] = change["after"]
    for key, order in latest.items():
        if order is not None and (product := total(order)) is not None:
            yield {"key": key, "value": {"total": product}}


with DAG(NAME, schedule=schedule, catchup=False, max_active_runs=1, tags=["headwater"]) as dag:
    pull = HeadwaterPullOperator(task_id="pull", directory=f"{FILES}/orders", on_expired="snapshot", **feed)
    push = HeadwaterPushOperator(
        task_id="push",
        database=DATABASE,
        collection="orders",
        python_callable=totals,
        # An order may be deleted between the pull and the push.
        if_missing="skip",
    )
    pull >> push
