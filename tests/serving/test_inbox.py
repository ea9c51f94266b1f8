"""The inbox: mail by SMTP and webhooks over HTTP come in, a page and JSON go out."""

import smtplib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from email.message import EmailMessage

import httpx
import pytest
from starlette.types import ASGIApp

from course.ports import any_free
from serving import program
from serving.inbox import KEPT, LARGEST, InboxSettings, make_app

SMTP_PORT = any_free()
ALERTMANAGER = {
    "status": "firing",
    "commonLabels": {"alertname": "TrainingIsLate", "severity": "page"},
    "alerts": [{"status": "firing", "labels": {"dag_id": "monitored_training"}}],
}


@pytest.fixture(scope="module")
def shared(
    serve: Callable[[ASGIApp], AbstractContextManager[httpx.Client]],
) -> Iterator[httpx.Client]:
    with serve(make_app(InboxSettings(smtp_port=SMTP_PORT))) as client:
        yield client


@pytest.fixture
def inbox(shared: httpx.Client) -> httpx.Client:
    """The inbox, empty."""
    assert shared.delete("/messages").status_code == 204
    assert shared.get("/messages").json() == []
    return shared


def mail(subject: str, text: str = "Look at the run.") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "airflow@x.org", "you@x.org", subject
    message.set_content(text)
    return message


def send(message: EmailMessage) -> None:
    with smtplib.SMTP("127.0.0.1", SMTP_PORT, timeout=30) as connection:
        connection.send_message(message)


def test_a_mail_is_shown(inbox: httpx.Client) -> None:
    send(mail("Training is late – später", "train_delay_model missed its deadline."))
    (message,) = inbox.get("/messages").json()
    assert message.pop("at").endswith("+00:00")
    assert message == {
        "kind": "mail",
        "sender": "airflow@x.org",
        "to": "you@x.org",
        "subject": "Training is late – später",
        "body": "train_delay_model missed its deadline.\n",
        "html": False,
    }
    page = inbox.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "Training is late – später" in page.text
    assert "where your mail server, Slack or PagerDuty would be" in page.text


def test_what_is_written_as_html_is_shown_as_text(inbox: httpx.Client) -> None:
    send(mail("<script>alert(1)</script>", "<b>bold</b>"))
    inbox.post("/hook", json={"text": "<img src=x onerror=alert(2)>"})
    page = inbox.get("/").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;img src=x onerror=alert(2)&gt;" in page
    for tag in ("<script", "<img", "<b>"):
        assert tag not in page


@pytest.mark.parametrize(
    ("payload", "subject"),
    [
        ({"text": "drift in carrier_delays"}, "drift in carrier_delays"),
        ({"title": "Late", "message": "…"}, "Late"),
        (ALERTMANAGER, "firing: TrainingIsLate"),
        ({"status": "firing"}, "POST /services/T1/B2"),
        ({"commonLabels": None}, "POST /services/T1/B2"),
        (["a", "list"], "POST /services/T1/B2"),
    ],
)
def test_a_webhook_is_named_after_what_it_says(
    inbox: httpx.Client, payload: object, subject: str
) -> None:
    assert inbox.post("/services/T1/B2", json=payload).json() == {"status": "kept"}
    (message,) = inbox.get("/messages").json()
    assert (message["kind"], message["to"]) == ("webhook", "/services/T1/B2")
    assert message["subject"] == subject


def test_the_newest_is_first_and_messages_can_be_picked(inbox: httpx.Client) -> None:
    for number in range(3):
        inbox.post("/", json={"text": f"message {number}", "dag": "Other" if number else "first"})
    found = inbox.get("/messages").json()
    assert [each["subject"] for each in found] == ["message 2", "message 1", "message 0"]
    assert len(inbox.get("/messages", params={"contains": "oTHER"}).json()) == 2
    assert inbox.get("/messages", params={"contains": "nowhere"}).json() == []


def test_only_the_last_are_kept(inbox: httpx.Client) -> None:
    for number in range(KEPT + 1):
        inbox.post("/", json={"text": str(number)})
    found = inbox.get("/messages").json()
    assert (len(found), found[0]["subject"], found[-1]["subject"]) == (KEPT, str(KEPT), "1")


def test_what_is_too_large_is_refused(inbox: httpx.Client) -> None:
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        send(mail("large", "a line of text\n" * (LARGEST // 10)))
    assert refused.value.smtp_code == 552
    answer = inbox.post("/hook", json={"text": "x" * LARGEST})
    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        f"what was posted to /hook is over {LARGEST} bytes",
    )
    assert inbox.get("/messages").json() == []
    assert inbox.post("/hook", json={"text": "x" * (LARGEST - 100)}).status_code == 200


@pytest.mark.parametrize("body", [b"status=firing", b"", b"\xff\xfe\xfa", b"[" * 200_000])
def test_what_is_no_json_is_refused(inbox: httpx.Client, body: bytes) -> None:
    answer = inbox.post("/hook", content=body)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("what was posted to /hook is no JSON: ")
    assert inbox.get("/messages").json() == []


def test_half_a_character_does_not_spoil_the_page(inbox: httpx.Client) -> None:
    inbox.post("/hook", content=rb'{"text": "broken \ud800 emoji"}')
    assert inbox.get("/messages").json()[0]["subject"] == "broken ? emoji"
    assert "broken ? emoji" in inbox.get("/").text


def test_a_mail_of_html_is_shown_as_a_page_of_its_own_that_can_do_nothing(
    inbox: httpx.Client,
) -> None:
    message = mail("page")
    message.set_content('<p title="x">failed</p><script>alert(1)</script>', subtype="html")
    send(message)
    (kept,) = inbox.get("/messages").json()
    assert (kept["html"], kept["body"][:23]) == (True, '<p title="x">failed</p>')
    page = inbox.get("/")
    assert 'srcdoc="&lt;p title=&#34;x&#34;&gt;failed&lt;/p&gt;&lt;script&gt;' in page.text
    assert "<iframe sandbox title=" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none';")


def test_a_bad_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INBOX_SMTP_PORT", "smtp")
    with pytest.raises(SystemExit, match="error: INBOX_SMTP_PORT='smtp' is not usable"):
        program.read(InboxSettings)
