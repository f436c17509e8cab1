"""What can go wrong, sorted by whether another try can help."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException


class HeadwaterUnavailable(AirflowException):
    """The server cannot be reached or cannot answer now. Another try can help, so Airflow's own retries apply."""


class HeadwaterRefused(AirflowFailException):
    """The server refuses the request as it is. Another try cannot help, so the task fails at once.

    :ivar status: the HTTP status.
    :ivar code: the server's word for the error, such as ``unknown-collection``.
    :ivar details: what the server adds for programs, by name.
    """

    def __init__(self, message: str, *, status: int, code: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details or {}


class CursorExpired(HeadwaterRefused):
    """The changes after a cursor are no longer kept, or the cursor is of another epoch.

    ``details`` has ``oldest`` and ``head``, the cursors from which changes can be had.
    """


class LakeDiffers(AirflowFailException):
    """The lake does not have what the records have. Repairing it can help, another look cannot."""


class DrillFailed(AirflowFailException):
    """Drill refused a statement or could not finish it."""
