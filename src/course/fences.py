"""The fenced blocks of a Markdown page, and what proves each of them."""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from course.config import REPOSITORY

ILLUSTRATION = re.compile(r"<!-- illustration: (.+?) -->")
SHELLS = {"bash", "console", "sh"}


@dataclass(frozen=True)
class Fence:
    """A fenced block."""

    page: Path
    line: int
    language: str
    text: str
    above: str
    """The line before it."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        page = self.page
        known = page.relative_to(REPOSITORY) if page.is_relative_to(REPOSITORY) else page
        return f"{known}:{self.line}"

    @property
    def kind(self) -> str:
        """What proves it: excerpt, diagram, commands, executed, illustration, or nothing."""
        if "[[[cog excerpt(" in self.above:
            return "excerpt"
        if ILLUSTRATION.search(self.above):
            return "illustration"
        if self.language in SHELLS:
            return "commands"
        return {"mermaid": "diagram", "python": "executed"}.get(self.language, "nothing")

    @property
    def reason(self) -> str:
        """Why it is only an illustration."""
        found = ILLUSTRATION.search(self.above)
        return found[1] if found else ""


def fences(page: Path) -> list[Fence]:
    """All fenced blocks of a page, those in lists included."""
    text = page.read_text("utf-8")
    lines = text.splitlines()
    found = []
    for token in MarkdownIt().parse(text):
        if token.type == "fence" and token.map:
            begin = token.map[0]
            above = next((line for line in reversed(lines[:begin]) if line.strip()), "")
            found.append(Fence(page, begin + 1, token.info.split(" ")[0], token.content, above))
    return found


def prose(page: Path) -> str:
    """The page without fenced blocks and comments that are not markers."""
    return re.sub(r"^[ >]*```.*?^[ >]*```", "", page.read_text("utf-8"), flags=re.M | re.S)


def commands(fence: Fence) -> list[str]:
    """The commands of a shell block: continued lines joined, comments and output left out."""
    joined = fence.text.replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines()]
    if fence.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if line and not line.startswith("#")]
