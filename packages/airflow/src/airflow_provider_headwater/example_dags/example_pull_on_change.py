"""Pull as soon as people change something: the asset rings, the run pulls."""

import os
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher

from airflow_provider_headwater.operators import HeadwaterPullOperator
from airflow_provider_headwater.triggers import HeadwaterAssetTrigger

DATABASE = os.environ.get("HEADWATER_DATABASE", "your-database-id")
FILES = os.environ.get("HEADWATER_FILES", "/tmp/headwater")

# The trigger and the pull look at the same consumer; an asset has one of its own.
feed: dict[str, Any] = {"database": DATABASE, "consumer": "visits", "collection": "visits"}
visits = Asset("headwater_visits", watchers=[AssetWatcher(name="visits", trigger=HeadwaterAssetTrigger(**feed))])

with DAG("headwater_pull_on_change", schedule=[visits], catchup=False, max_active_runs=1, tags=["headwater"]) as dag:
    HeadwaterPullOperator(task_id="pull", directory=f"{FILES}/visits", on_expired="snapshot", **feed)
