"""Add to records that people edit at the same moment: both stay, by the policy of each field."""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_headwater import calls
from airflow_provider_headwater.hooks import HeadwaterHook
from airflow_provider_headwater.operators import HeadwaterPushOperator

DATABASE = os.environ.get("HEADWATER_DATABASE", "your-database-id")

#: Stands for a geocoder, a model or a price list.
COUNTRIES = {"LAX": "US", "LHR": "GB", "WAW": "PL"}


def enriched(**_: Any) -> Iterator[dict[str, Any]]:
    """The country of each airport that lacks one, as of the version that was read."""
    after: str | None = None
    with HeadwaterHook().client() as client:
        while True:
            page = client.run(calls.records(DATABASE, "airports", after=after, limit=500))
            for record in page["records"]:
                country = COUNTRIES.get(record["key"])
                if country and record["value"].get("country") is None:
                    value = {"country": country, "note": "found by its code"}
                    # What was written since is not overwritten: the write is merged as if it had been made offline.
                    yield {"key": record["key"], "version": record["version"], "value": value}
            after = page.get("next")
            if after is None:
                return


with DAG("headwater_enrichment", schedule=timedelta(hours=6), catchup=False, max_active_runs=1, tags=["headwater"]) as dag:
    HeadwaterPushOperator(task_id="enrich", database=DATABASE, collection="airports", python_callable=enriched)
