"""The connection type and its Test button."""

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_headwater.hooks import HeadwaterHook, server_of
from airflow_provider_headwater.provider_info import get_provider_info


def test_a_connection_is_a_server():
    from airflow.sdk import Connection

    server = server_of(Connection(conn_id="c", conn_type="headwater", host="https://h.example:3030/", password="t"))
    assert (server.url, server.token) == ("https://h.example:3030", "t")
    server = server_of(Connection(conn_id="c", conn_type="headwater", host="h.example", port=3030, extra='{"timeout": 3}'))
    assert (server.url, server.token, server.timeout) == ("http://h.example:3030", None, 3)
    with pytest.raises(AirflowFailException, match="has no server"):
        server_of(Connection(conn_id="c", conn_type="headwater"))


def test_the_test_button_asks_a_server_and_its_token(scripted, connect):
    connect("hw", scripted.url, "good")
    scripted.then(200).then(200, {"databases": [{"id": "a"}]})
    assert HeadwaterHook("hw").test_connection() == (True, "The server works and takes the token, which sees 1 databases.")
    scripted.then(200).refuse(401, "unauthorized", "this token is not known")
    works, why = HeadwaterHook("hw").test_connection()
    assert not works
    assert "this token is not known" in why
    scripted.refuse(503, "storage", "the disk is full")
    works, why = HeadwaterHook("hw").test_connection()
    assert not works
    assert "the disk is full" in why


def test_airflow_knows_the_connection_type():
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "airflow-provider-headwater" in manager.providers
    hook = manager.hooks["headwater"]
    assert hook is not None
    assert hook.hook_class_name == "airflow_provider_headwater.hooks.HeadwaterHook"


def test_what_the_provider_names_is_there():
    from importlib import import_module

    info = get_provider_info()
    for kind in ("operators", "sensors", "hooks", "triggers"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                import_module(module)
    module, name = info["notifications"][0].rsplit(".", 1)
    assert hasattr(import_module(module), name)
