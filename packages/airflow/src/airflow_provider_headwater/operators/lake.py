"""The lake: what Drill sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_headwater import calls
from airflow_provider_headwater.errors import LakeDiffers
from airflow_provider_headwater.hooks import HeadwaterHook

if TYPE_CHECKING:
    from airflow.sdk import Context

#: The most tables that differ which the error names.
_NAMED = 10


class HeadwaterPublishOperator(BaseOperator):
    """Wait until the lake has all that was acknowledged before; put it between a push and a query.

    The XCom is the server's ``{"snapshot": id, …}``, which names the state for ``headwater query --as-of``.

    :param headwater_conn_id: the connection. (templated)
    """

    template_fields: Sequence[str] = ("headwater_conn_id",)
    ui_color = "#f3e6cf"

    def __init__(self, *, headwater_conn_id: str = HeadwaterHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.headwater_conn_id = headwater_conn_id

    def execute(self, context: Context) -> Any:
        """Publish."""
        return HeadwaterHook(self.headwater_conn_id).run(calls.publish())


class HeadwaterVerifyLakeOperator(BaseOperator):
    """Compare every file and row of the lake with the records, and fail if they differ.

    The token needs read access to all databases. The XCom is ``{"tables": n, "rows": n}``.

    :param headwater_conn_id: the connection. (templated)
    """

    template_fields: Sequence[str] = ("headwater_conn_id",)
    ui_color = "#f3e6cf"

    def __init__(self, *, headwater_conn_id: str = HeadwaterHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.headwater_conn_id = headwater_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """Verify.

        :raises LakeDiffers: naming the tables and what to do.
        """
        report = HeadwaterHook(self.headwater_conn_id).run(calls.verify_lake())
        tables = report["tables"]
        rows = sum(table["rows"] for table in tables)
        if report["ok"]:
            return {"tables": len(tables), "rows": rows}
        differing = [table for table in tables if table["differing"] or table["records_hash"] != table["rows_hash"]]
        for table in differing:
            self.log.error("%s of %s: these keys differ: %s", table["collection"], table["database"], table["differing"])
        for damage in report["damaged"][:_NAMED]:
            self.log.error("%s", damage)
        names = ", ".join(table["collection"] for table in differing[:_NAMED]) or "none"
        raise LakeDiffers(
            f"{len(differing)} of {len(tables)} tables differ from the records ({names}), {len(report['damaged'])} files are "
            "damaged: the log has which; `headwater lake repair` mends them from the records, which are whole"
        )
