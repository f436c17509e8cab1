"""What Airflow asks a provider about itself."""

from __future__ import annotations

from typing import Any

from airflow_provider_headwater import __version__

NAME = "Headwater"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's entry for Airflow's provider manager."""
    module = "airflow_provider_headwater"
    return {
        "package-name": "airflow-provider-headwater",
        "name": NAME,
        "description": "Records that people edit offline: pull what changed, push results back.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": NAME,
                "external-doc-url": "https://github.com/headwater-db/headwater",
                "tags": ["service"],
            }
        ],
        "operators": [
            {
                "integration-name": NAME,
                "python-modules": [f"{module}.operators.{name}" for name in ("pull", "push", "lake", "conflicts", "drill")],
            }
        ],
        "sensors": [{"integration-name": NAME, "python-modules": [f"{module}.sensors"]}],
        "hooks": [{"integration-name": NAME, "python-modules": [f"{module}.hooks"]}],
        "triggers": [{"integration-name": NAME, "python-modules": [f"{module}.triggers"]}],
        "notifications": [f"{module}.notifications.HeadwaterNotifier"],
        "connection-types": [
            {
                "connection-type": "headwater",
                "hook-class-name": f"{module}.hooks.HeadwaterHook",
                "hook-name": NAME,
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {"host": "Server", "password": "Token"},
                    "placeholders": {"host": "https://headwater.example.com:3030"},
                },
                "conn-fields": {
                    "ca_file": {
                        "label": "File of certificate authorities",
                        "description": "PEM, on the workers; without it the system's are used",
                        "schema": {"type": ["string", "null"]},
                    },
                    "timeout": {
                        "label": "Seconds that an answer may take",
                        "schema": {"type": ["integer", "null"], "minimum": 1},
                    },
                },
            }
        ],
    }
