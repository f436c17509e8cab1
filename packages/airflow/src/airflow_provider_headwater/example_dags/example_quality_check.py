"""Look each morning whether the tables have what the records have, and tell people if not."""

import os

from airflow.sdk import DAG, CronTriggerTimetable

from airflow_provider_headwater.notifications import HeadwaterNotifier
from airflow_provider_headwater.operators import HeadwaterPublishOperator, HeadwaterVerifyLakeOperator

DATABASE = os.environ.get("HEADWATER_DATABASE", "your-database-id")

with DAG(
    "headwater_quality_check",
    schedule=CronTriggerTimetable("0 6 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["headwater"],
    default_args={
        # A connection with a token of its own: a notice of a token that was revoked needs another one.
        "on_failure_callback": HeadwaterNotifier(database=DATABASE, headwater_conn_id="headwater_notices"),
    },
) as dag:
    HeadwaterPublishOperator(task_id="publish") >> HeadwaterVerifyLakeOperator(task_id="verify")
