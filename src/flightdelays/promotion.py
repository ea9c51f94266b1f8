"""A challenger asks to become champion: what a person needs to decide, and what came of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from flightdelays import pages, registry
from flightdelays.pages import Cell, Table
from flightdelays.registry import CHAMPION, STAGING, Trained
from flightdelays.settings import Settings, get_settings

FOLDER = "promote_model"
YES = "Approve"
"""The option that means a yes; every other is a no."""


class Comparison(TypedDict):
    """Versions behind ``staging`` and ``champion`` (None if nothing has the alias)."""

    challenger: int | None
    champion: int | None


class Answer(TypedDict):
    """What a person chose and when; ``responded_by_user`` is None if nobody answered in time."""

    chosen_options: list[str]
    responded_by_user: Mapping[str, str] | None
    responded_at: datetime


def compare(settings: Settings | None = None) -> Comparison:
    """Which version asks, and which one reigns."""
    return Comparison(
        challenger=registry.alias_version(STAGING, settings),
        champion=registry.alias_version(CHAMPION, settings),
    )


def is_open(compared: Comparison) -> bool:
    """Whether there is anything to decide."""
    return compared["challenger"] is not None and compared["challenger"] != compared["champion"]


def is_approval(answer: Answer) -> bool:
    """Whether a person said yes; silence is no yes, whatever is recorded as its answer."""
    return YES in answer["chosen_options"] and answer["responded_by_user"] is not None


def table(compared: Comparison, settings: Settings | None = None) -> Table:
    """Champion and challenger side by side; the metrics are those of their own validation months.

    One column for each version that there is.
    """
    versions = {
        f"{role} v{number}": registry.describe(number, settings)
        for role, number in (
            ("champion", compared["champion"]),
            ("challenger", compared["challenger"]),
        )
        if number is not None
    }
    return Table(
        ("", *versions),
        [(title, *(value(version) for version in versions.values())) for title, value in _ROWS],
    )


def _months(version: Trained) -> str:
    return f"{version.window.train_from} to {version.window.train_to}"


_ROWS: Sequence[tuple[str, Any]] = (
    ("model", lambda version: version.model),
    ("trained on", _months),
    ("judged by", lambda version: version.window.validation),
    ("AUC", lambda version: version.metrics["auc"]),
    ("PR-AUC", lambda version: version.metrics["pr_auc"]),
    ("log loss", lambda version: version.metrics["log_loss"]),
)


def question(compared: Comparison, settings: Settings | None = None) -> str:
    """The comparison in Markdown, with what to mind when reading it."""
    shown = table(compared, settings)
    lines: list[Sequence[Cell]] = [shown.columns, ["---"] * len(shown.columns), *shown.rows]
    text = "\n".join("| " + " | ".join(map(pages.show, line)) + " |" for line in lines)
    judged = next(row for row in shown.rows if row[0] == "judged by")[1:]
    if len(set(judged)) > 1:
        text += (
            "\n\nThey were judged by different months, and months are not equally hard to tell: "
            "look at the report of the challenger's training, which judges both by the same rows."
        )
    return text


def sentence(compared: Comparison, answer: Answer | None) -> str:
    """What came of a run of ``promote_model``; ``answer`` is None if nothing was asked."""
    challenger, champion = compared["challenger"], compared["champion"]
    if answer is None:
        if challenger is None:
            return "nothing to decide: no version is in staging"
        return f"nothing to decide: v{challenger} is in staging and the champion already"
    stays = f"v{champion} stays the champion" if champion else "there is still no champion"
    if (user := answer["responded_by_user"]) is None:
        return f"{stays}: nobody decided on v{challenger} in time, which counts as a no"
    if is_approval(answer):
        before = f"v{champion} was" if champion else "there was none"
        return f"v{challenger} is the champion now, approved by {user['name']}; before, {before}"
    return f"{stays}: {user['name']} rejected v{challenger}"


def report(
    compared: Comparison, answer: Answer | None, run: str, settings: Settings | None = None
) -> str:
    """Write verdict and page of a decision; returns the JSON file's path."""
    settings = settings or get_settings()
    headline = sentence(compared, answer)
    facts: list[str] = []
    data: dict[str, Any] = dict(compared)
    if answer is not None:
        user, moment = answer["responded_by_user"], answer["responded_at"]
        who = f"{user['name']} answered at" if user else "Nobody answered until"
        facts.append(f"{who} {moment:%Y-%m-%d %H:%M} UTC.")
        data |= {
            "answer": answer["chosen_options"][0],
            "answered_by": user and user["name"],
            "answered_at": moment.isoformat(timespec="seconds"),
        }
    return pages.write(
        FOLDER,
        run,
        headline=headline,
        facts=facts,
        tables={"Champion and challenger": table(compared, settings)} if answer else {},
        data=data,
        settings=settings,
    )
