"""Apache Airflow and Headwater, both ways."""

__version__ = "0.1.0"
