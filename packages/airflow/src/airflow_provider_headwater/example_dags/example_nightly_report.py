"""Ask Drill each night, and write the answer to where people see it: their browsers.

A region that has no sales any more keeps its last report.
"""

import os
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable

from airflow_provider_headwater.operators import DrillQueryOperator, HeadwaterPublishOperator, HeadwaterPushOperator

DATABASE = os.environ.get("HEADWATER_DATABASE", "your-database-id")
FILES = os.environ.get("HEADWATER_FILES", "/tmp/headwater")

SQL = """
SELECT region, COUNT(*) AS sales, SUM(amount) AS amount
FROM headwater.sales
WHERE `_database` = :database AND amount >= :least
GROUP BY region
"""


def report(row: dict[str, Any]) -> dict[str, Any]:
    """A region's record."""
    return {"key": row["region"], "value": {"sales": row["sales"], "amount": row["amount"]}}


with DAG(
    "headwater_nightly_report",
    schedule=CronTriggerTimetable("0 2 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["headwater"],
) as dag:
    # So that the answer has all that was acknowledged before.
    publish = HeadwaterPublishOperator(task_id="publish")
    ask = DrillQueryOperator(
        task_id="ask",
        sql=SQL,
        parameters={"database": DATABASE, "least": 1},
        path=f"{FILES}/report/{{{{ run_id | replace('/', '_') }}}}.jsonl",
        transform=report,
    )
    push = HeadwaterPushOperator(
        task_id="push",
        database=DATABASE,
        collection="sales_by_region",
        files=["{{ ti.xcom_pull(task_ids='ask')['path'] }}"],
        op="put",
    )
    publish >> ask >> push
