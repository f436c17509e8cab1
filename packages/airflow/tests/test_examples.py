"""The example DAGs."""

import os

from conftest import EXAMPLES


def load_examples():
    """The DAGs by their ids, read anew."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(EXAMPLES), bundle_name="dags-folder")
    assert not bag.import_errors
    return bag.dags


def test_every_example_is_a_dag():
    dags = load_examples()
    assert len(dags) == len([name for name in os.listdir(EXAMPLES) if name.startswith("example_")])
