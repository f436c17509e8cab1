"""What tasks do with Headwater."""

from airflow_provider_headwater.operators.conflicts import HeadwaterSettleConflictsOperator
from airflow_provider_headwater.operators.drill import DrillQueryOperator
from airflow_provider_headwater.operators.lake import HeadwaterPublishOperator, HeadwaterVerifyLakeOperator
from airflow_provider_headwater.operators.pull import HeadwaterPullOperator
from airflow_provider_headwater.operators.push import HeadwaterPushOperator

__all__ = [
    "DrillQueryOperator",
    "HeadwaterPublishOperator",
    "HeadwaterPullOperator",
    "HeadwaterPushOperator",
    "HeadwaterSettleConflictsOperator",
    "HeadwaterVerifyLakeOperator",
]
