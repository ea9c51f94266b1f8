"""`make quiz`: the knowledge check in a terminal, one question at a time."""

import random
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from rich.console import RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from course.config import Config
from course.console import console
from course.errors import CourseError
from course.grading import progress as keeping
from course.grading.progress import Progress
from course.quiz import FILE, PAGE, Question, Quiz, Topic, read

ALL = "all"
MIXED = 10
"""How many questions are drawn from all topics, if nobody says how many."""
SKIP, QUIT = "s", "q"


class Ended(Exception):  # noqa: N818 - the person's wish, not an error
    """The person has had enough: q, Ctrl-C or Ctrl-D."""


class Session:
    """One sitting: what was asked, and what was answered."""

    def __init__(self, quiz: Quiz) -> None:
        self._quiz = quiz
        self.asked: list[Question] = []
        self.right: list[Question] = []
        self.wrong: list[Question] = []

    def run(self, questions: Sequence[Question]) -> None:
        """Ask one after the other, until there is none left or the person quits."""
        for number, question in enumerate(questions, 1):
            title = self._quiz.topic(question.topic).title
            console.print(Rule(f"{title} · {number} of {len(questions)}", align="left"))
            for part in shown(question):
                console.print(Padding(part, (0, 0, 1, 0)))
            self._take(question, answer(question))

    def _take(self, question: Question, letter: str) -> None:
        self.asked.append(question)
        if letter == SKIP:
            console.print("Skipped.\n", style="dim")
            return
        if letter == question.right:
            self.right.append(question)
            console.print(_why("✓ Right.", "green", question, letter))
        else:
            self.wrong.append(question)
            console.print(_why(f"✗ Not {letter}.", "red", question, letter))
            console.print(_why(f"It is {question.right}.", "green", question, question.right))
            console.print(f"Read again: {place(question)}", style="dim", markup=False)
        console.print()

    def summary(self) -> Table:
        """What was right, by topic, and what to read again."""
        table = Table(box=None, pad_edge=False)
        for name in ("topic", "right", "read again"):
            table.add_column(name)
        for topic in self._quiz.topics:
            asked = sum(question.topic == topic.key for question in self.asked)
            if not asked:
                continue
            right = sum(question.topic == topic.key for question in self.right)
            again = dict.fromkeys(
                place(question)
                for question in self.asked
                if question.topic == topic.key and question not in self.right
            )
            mark = ("✓ ", "green") if right == asked else ("  ", "")
            table.add_row(Text.assemble(mark, topic.title), f"{right} of {asked}", "\n".join(again))
        return table

    def note(self, standing: Progress) -> None:
        """Keep the best result of each topic."""
        for topic, right in Counter(question.topic for question in self.right).items():
            standing.quiz[topic] = max(right, standing.quiz.get(topic, 0))


def shown(question: Question) -> list[RenderableType]:
    """A question as it stands on the screen."""
    parts: list[RenderableType] = [Markdown(question.text)]
    if question.code:
        parts.append(Syntax(question.code.strip(), "python", background_color="default"))
    offered = Table.grid(padding=(0, 2))
    for letter, option in zip(question.letters, question.options, strict=True):
        offered.add_row(Text(letter, style="bold"), Markdown(option.text))
    parts.append(offered)
    return parts


def place(question: Question) -> str:
    """Where the matter is explained: the file of the lecture, and the heading."""
    file = f"{FILE.parent.name}/{question.lecture}"
    return f"{file}, “{question.heading}”" if question.heading else file


def _why(verdict: str, style: str, question: Question, letter: str) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_row(Text(verdict, style=f"bold {style}"), Markdown(question.option(letter).why))
    return grid


def answer(question: Question) -> str:
    """The letter that the person has chosen, or `SKIP`; Ended if they quit."""
    choices = f"{question.letters[0]}–{question.letters[-1]}"
    while True:
        said = _ask(f"{choices}, {SKIP} skip, {QUIT} quit: ").lower()
        if said == QUIT:
            raise Ended
        if said == SKIP or (len(said) == 1 and said in question.letters):
            return said
        console.print(f"One letter, please: {choices}, {SKIP} or {QUIT}.", style="dim")


def choose(quiz: Quiz, standing: Progress) -> str:
    """The name of the topic that the person wants; Ended if they quit."""
    table = Table.grid(padding=(0, 2))
    for number, topic in enumerate(quiz.topics, 1):
        table.add_row(str(number), topic.title, _best(quiz, topic, standing))
    console.print(table)
    while True:
        prompt = f"1–{len(quiz.topics)} for a topic, Enter for {MIXED} of all, {QUIT} quit: "
        said = _ask(prompt).lower()
        if said == QUIT:
            raise Ended
        if said in {"", ALL}:
            return ALL
        if said.isdecimal() and 1 <= int(said) <= len(quiz.topics):
            return quiz.topics[int(said) - 1].key
        try:
            return quiz.topic(said).key
        except CourseError as error:
            console.print(error.problem, style="dim", markup=False)


def _ask(prompt: str) -> str:
    try:
        return console.input(Text(prompt, style="bold")).strip()
    except (EOFError, KeyboardInterrupt) as error:
        console.print()
        raise Ended from error


def draw(quiz: Quiz, topic: str, count: int | None) -> list[Question]:
    """The questions of one sitting: a topic in its order, or a draw."""
    chance = random.Random()  # noqa: S311 - a draw of questions is no secret
    if topic.strip().lower() == ALL:
        found, count = list(quiz.questions), count or MIXED
    else:
        found = quiz.of(quiz.topic(topic))
    if count is None:
        return found
    return chance.sample(found, min(count, len(found)))


def play(config: Config, topic: str = "", count: int | None = None) -> None:
    """Ask, explain, and remember the best results; CourseError if there is nobody to answer."""
    quiz = read()
    if topic and topic.strip().lower() != ALL:
        quiz.topic(topic)
    if not (sys.stdin.isatty() and console.is_terminal):
        raise CourseError(
            "The quiz needs a terminal to ask in, and this is none.",
            f"run `make quiz` in a terminal, or read {PAGE.parent.name}/{PAGE.name}",
        )
    standing, session = keeping.load(config), Session(quiz)
    with suppress(Ended):
        session.run(draw(quiz, topic or choose(quiz, standing), count))
    if not session.right and not session.wrong:
        console.print("Ended.")
        return
    session.note(standing)
    keeping.save(config, standing)
    console.print(Rule("Result", align="left"))
    console.print(session.summary())


def overview(standing: Progress) -> RenderableType | None:
    """One line with the best result of each topic; None if the quiz was never taken."""
    if not standing.quiz:
        return None
    quiz = read()
    best = [
        f"{topic.title} {_best(quiz, topic, standing)}"
        for topic in quiz.topics
        if topic.key in standing.quiz
    ]
    return Text("Quiz    " + " · ".join(best))


def _best(quiz: Quiz, topic: Topic, standing: Progress) -> str:
    total = len(quiz.of(topic))
    return f"{min(standing.quiz.get(topic.key, 0), total)} of {total}"
