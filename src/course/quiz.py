"""The knowledge check: questions from `lecture-notes/knowledge-check.toml`, and their page."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from course.config import REPOSITORY
from course.errors import CourseError

LECTURES = REPOSITORY / "lecture-notes"
FILE = LECTURES / "knowledge-check.toml"
PAGE = LECTURES / "knowledge-check.md"
LETTERS = "abcd"
# Stands above the code of each question on the page; it says what proves the code.
REASON = "Airflow parses this file in tests/lectures/test_knowledge_check.py"


def _unwrapped(text: object) -> object:
    """Lines of a paragraph joined; paragraphs stay apart."""
    if not isinstance(text, str):
        return text  # pydantic says what is wrong with it
    if not text.strip():
        raise ValueError("is empty")
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return "\n\n".join(filter(None, paragraphs))


Words = Annotated[str, BeforeValidator(_unwrapped)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Topic(_Part):
    """What some of the questions are about."""

    key: str = Field(pattern=r"^[a-z]+$", description="what a person types")
    title: Words


class Option(_Part):
    """One of the answers that a question offers."""

    text: Words
    why: Words = Field(description="why it is right; or why not, and what is true instead")


class Question(_Part):
    """One question with its answers."""

    id: Words
    topic: str
    text: Words
    options: tuple[Option, ...] = Field(min_length=3, max_length=len(LETTERS))
    right: str = Field(pattern=f"^[{LETTERS}]$", description="letter of the right option")
    lecture: str = Field(pattern=r"^\d\d-[\w-]+\.md$", description="what to read again")
    heading: str = Field(default="", description="where in the lecture")
    code: str = Field(default="", description="a whole DAG file, which belongs to the question")
    error: str = Field(default="", description="what Airflow says if it cannot import the code")
    proof: str = Field(default="", pattern=r"^$|^tests/[\w/]+\.py::test_\w+$")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.right not in self.letters:
            raise ValueError(f"right: there is no option {self.right}")
        if self.error and not self.code:
            raise ValueError("error: there is no code that it could belong to")
        return self

    @property
    def letters(self) -> str:
        """The letters of its options."""
        return LETTERS[: len(self.options)]

    def option(self, letter: str) -> Option:
        """The option with that letter."""
        return self.options[LETTERS.index(letter)]

    @property
    def reading(self) -> str:
        """What to read again, for a person: ``Lecture 2, “Whose three o'clock?”``."""
        number = f"Lecture {int(self.lecture[:2])}"
        return f"{number}, “{self.heading}”" if self.heading else number

    @property
    def address(self) -> str:
        """The same as a link from the page: ``02-scheduling.md#whose-three-oclock``."""
        anchor = re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", self.heading.lower()))
        return f"{self.lecture}#{anchor}" if anchor else self.lecture


class Quiz(_Part):
    """All topics, and all questions in their order."""

    topics: tuple[Topic, ...] = Field(min_length=1)
    questions: tuple[Question, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        ids = [question.id for question in self.questions]
        known = {topic.key for topic in self.topics}
        for number, question in enumerate(self.questions, 1):
            if question.topic not in known:
                there = ", ".join(topic.key for topic in self.topics)
                raise ValueError(
                    f"question {number} ({question.id}): topic: there is no topic "
                    f"{question.topic!r}; there are: {there}"
                )
            if ids.index(question.id) != number - 1:
                raise ValueError(f"question {number} ({question.id}): id: used twice")
        return self

    def of(self, topic: Topic) -> list[Question]:
        """The questions of a topic, in their order."""
        return [question for question in self.questions if question.topic == topic.key]

    def topic(self, name: str) -> Topic:
        """The topic that a person means by its key, its title or the beginning of one."""
        wanted = name.strip().lower()
        names = {topic.key: (topic.key, topic.title.lower()) for topic in self.topics}
        for matches in (str.__eq__, str.startswith):
            found = [
                topic
                for topic in self.topics
                if wanted and any(matches(each, wanted) for each in names[topic.key])
            ]
            if len(found) == 1:
                return found[0]
        there = ", ".join(topic.key for topic in self.topics)
        raise CourseError(f"There is no topic {name!r}; there are: {there}, all", "make quiz")


def read(path: Path = FILE) -> Quiz:
    """Read the questions; CourseError names the file, the question and the field that is wrong."""
    name = path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        return Quiz.model_validate(data)
    except OSError as error:
        raise CourseError(f"{name} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{name} is not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = _place(data, first["loc"])
        problem = str(first["msg"]).removeprefix("Value error, ")
        raise CourseError(f"{name}: {where}{problem}") from error


def _place(data: dict[str, Any], where: tuple[int | str, ...]) -> str:
    """The place of a mistake in words: ``question 4 (two assets): option b: why: ``."""
    match where:
        case ("questions", int(number), *rest):
            found = data["questions"][number]
            name = found.get("id") if isinstance(found, dict) else None
            parts = [f"question {number + 1}" + (f" ({name})" if name else "")]
        case ("topics", int(number), *rest):
            parts = [f"topic {number + 1}"]
        case _:
            parts, rest = [], list(where)
    if rest[:1] == ["options"] and len(rest) > 1:
        parts += [f"option {(LETTERS + '…')[min(int(rest[1]), len(LETTERS))]}"]
        rest = rest[2:]
    return "".join(f"{part}: " for part in [*parts, *map(str, rest)])


def questions(topic: str) -> None:
    """Print the questions of a topic as the page has them: cog calls this."""
    quiz = read()
    found = quiz.topic(topic)
    blocks = [
        _markdown(f"{found.title} {number}", question)
        for number, question in enumerate(quiz.of(found), 1)
    ]
    print("\n\n".join(blocks))


def _markdown(name: str, question: Question) -> str:
    lines = [f"### {name}", "", question.text, ""]
    if question.code:
        lines += [f"<!-- illustration: {REASON} -->", "```python", question.code.strip(), "```", ""]
    offered = list(zip(question.letters, question.options, strict=True))
    lines += [f"- **{letter}** · {option.text}" for letter, option in offered]
    # GitHub ignores the attribute; Python-Markdown needs it to see Markdown inside.
    lines += ["", '<details markdown="1"><summary>Answer</summary>', ""]
    for letter, option in offered:
        verdict = "Right." if letter == question.right else "No."
        lines += [f"- **{letter}** · **{verdict}** {option.why}"]
    again = f"Read again: [{question.reading}]({question.address})"
    if question.proof:
        again += f" · [the test that shows it](../{question.proof.split('::')[0]})"
    return "\n".join([*lines, "", again, "", "</details>"])
