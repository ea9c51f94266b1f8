"""What an alert reaches, caught and shown: ``python -m serving.inbox``.

This is the one double in the stack, at its very edge: it stands where your mail server, Slack or
PagerDuty would be. It takes mail by SMTP (aiosmtpd) and JSON by POST to any path (FastAPI), shows
both on a page, and forgets everything when it ends.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving import program

KEPT = 500
LARGEST = 1024 * 1024
"""Bytes of a mail or a request; more is refused."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may do for the page and for mail of HTML in it: neither run nor fetch anything."""
_pages = Environment(
    loader=PackageLoader("serving"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


class InboxSettings(BaseSettings):
    """Settings of the inbox."""

    model_config = SettingsConfigDict(env_prefix="INBOX_", frozen=True)

    host: str = Field(default="127.0.0.1", description="address to listen on")
    http_port: int = Field(default=8025, description="port of the page and of webhooks")
    smtp_port: int = Field(default=1025, description="port for mail")


@dataclass(frozen=True)
class Caught:
    """One mail or webhook."""

    kind: str
    sender: str
    to: str
    subject: str
    body: str
    html: bool
    at: str


def caught(kind: str, sender: str, to: str, subject: str, body: str, html: bool = False) -> Caught:
    """A message that comes now, as text that can be shown: JSON may hold halves of characters."""
    sender, to, subject, body = (
        part.encode("utf-8", "replace").decode() for part in (sender, to, subject, body)
    )
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Caught(kind, sender, to, subject, body, html, at)


class Mail:
    """Takes what aiosmtpd hands over."""

    def __init__(self, messages: deque[Caught]) -> None:
        self._messages = messages

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep one mail; the name is aiosmtpd's."""
        content = envelope.content
        mail = message_from_bytes(
            content if isinstance(content, bytes) else (content or "").encode(),
            policy=policy.default,
        )
        text = mail.get_body(("plain", "html"))
        self._messages.appendleft(
            caught(
                "mail",
                str(envelope.mail_from),
                ", ".join(envelope.rcpt_tos),
                str(mail["subject"] or "no subject"),
                text.get_content().replace("\r\n", "\n") if text else "",
                text is not None and text.get_content_subtype() == "html",
            )
        )
        return "250 kept"


def webhook(path: str, sender: str, payload: Any) -> Caught:
    """A webhook as a message; its subject as Slack, Apprise and Alertmanager name it."""
    found = payload if isinstance(payload, dict) else {}
    subject = found.get("text") or found.get("title")
    labels = found.get("commonLabels")
    if not subject and isinstance(labels, dict):
        subject = f"{found.get('status')}: {labels.get('alertname', 'alerts')}"
    body = json.dumps(payload, indent=2, ensure_ascii=False)
    return caught("webhook", sender, path, str(subject or f"POST {path}"), body)


def make_app(settings: InboxSettings) -> FastAPI:
    """The inbox as an application; it takes mail while it runs."""
    messages: deque[Caught] = deque(maxlen=KEPT)

    @asynccontextmanager
    async def taking_mail(app: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(Mail(messages), data_size_limit=LARGEST, enable_SMTPUTF8=True, loop=loop),
            settings.host,
            settings.smtp_port,
        )
        yield
        server.close()

    app = FastAPI(title="Inbox", lifespan=taking_mail)

    @app.get("/")
    async def page() -> HTMLResponse:
        shown = _pages.get_template("inbox.html.j2").render(messages=list(messages), kept=KEPT)
        return HTMLResponse(shown, headers={"Content-Security-Policy": POLICY})

    @app.get("/messages")
    async def listed(contains: str = "") -> list[dict[str, Any]]:
        found = [asdict(message) for message in messages]
        return [
            each
            for each in found
            if contains.lower() in f"{each['subject']} {each['body']}".lower()
        ]

    @app.delete("/messages", status_code=204)
    async def emptied() -> None:
        messages.clear()

    @app.post("/{path:path}")
    async def posted(path: str, request: Request) -> dict[str, str]:
        body = bytearray()
        async for part in request.stream():
            # Read to its end even so: a sender who is cut off never sees why.
            if len(body) <= LARGEST:
                body += part
        if len(body) > LARGEST:
            raise HTTPException(413, f"what was posted to /{path} is over {LARGEST} bytes")
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, f"what was posted to /{path} is no JSON: {error}") from error
        sender = request.client.host if request.client else "unknown"
        messages.appendleft(webhook(f"/{path}", sender, payload))
        return {"status": "kept"}

    return app


def main() -> None:
    """Catch until told to end."""
    settings = program.read(InboxSettings)
    program.begin()
    app = make_app(settings)
    uvicorn.run(app, host=settings.host, port=settings.http_port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
