"""One notifier for every alert; the Airflow connection says where they go.

The address in the connection `apprise_default` chooses among the services that Apprise knows:
a webhook (`json://host/path`), Slack, e-mail, SMS, about a hundred more. `jsonl://localhost/PATH`
is ours: each message becomes a line of the file PATH and a line of the log.

Airflow does not import this file with the plugins (see `.airflowignore`): Apprise takes time to
load, and most processes never send a message.
"""

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import apprise
from airflow.providers.apprise.notifications.apprise import AppriseNotifier
from apprise.decorators import notify

from flightdelays.errors import ServiceError

log = logging.getLogger(__name__)
LEVELS = {"failure": logging.ERROR, "warning": logging.WARNING}


@notify(on="jsonl", name="file of JSON lines")
def append_line(
    body: str, title: str, notify_type: str, *_: Any, meta: dict[str, Any], **__: Any
) -> None:
    """Append one message to the file that the address names, and log it."""
    message = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "type": notify_type,
        "title": title,
        "body": body,
    }
    line = (json.dumps(message, ensure_ascii=False) + "\n").encode()
    # One write to a file opened for appending: lines of several processes never mix.
    file = os.open(unquote(meta["fullpath"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line)
    finally:
        os.close(file)
    log.log(LEVELS.get(notify_type, logging.INFO), "%s\n%s", title, body)


class CourseNotifier(AppriseNotifier):
    """Airflow's Apprise notifier, except that a message that did not arrive is an error."""

    # The text of an exception may contain braces, and is no template.
    template_fields = ()

    def notify(self, context: Any) -> None:
        """Send the message; ServiceError if a service did not take it, or none is named."""
        services = self._services(self.hook.get_connection(self.apprise_conn_id))
        self._require(services.notify(**self._message()))

    async def async_notify(self, context: Any) -> None:
        """The same within an event loop."""
        services = self._services(await self.hook.aget_connection(self.apprise_conn_id))
        self._require(await services.async_notify(**self._message()))

    def _services(self, connection: Any) -> apprise.Apprise:
        services = apprise.Apprise()
        self.hook.set_config_from_conn(conn=connection, apprise_obj=services)
        return services

    def _message(self) -> dict[str, Any]:
        return {
            "body": self.body,
            "title": self.title,
            "notify_type": self.notify_type,
            "body_format": self.body_format,
            "tag": self.tag,
        }

    def _require(self, delivered: Any) -> None:
        if not delivered:
            # Without the address, which may hold a password.
            raise ServiceError(
                f"the message '{self.title}' was not delivered: check the address (`path`) in the "
                f"connection {self.apprise_conn_id}, and the service there"
            )
