"""The knowledge check: its questions, its page, and a sitting in a terminal."""

import ast
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from course.cli import app
from course.config import REPOSITORY, Config
from course.errors import CourseError
from course.grading import progress
from course.quiz import FILE, LETTERS, PAGE, Question, read
from course.quiz_view import MIXED, draw

QUIZ = read()
PATIENCE = 60
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
each_question = pytest.mark.parametrize("question", QUIZ.questions, ids=lambda each: each.id)

GOOD = """
[[topics]]
key = "design"
title = "DAG design"

[[questions]]
id = "first"
topic = "design"
text = "What?"
right = "b"
lecture = "01-why-orchestration.md"
options = [
  {text = "This", why = "no"},
  {text = "That", why = "yes"},
  {text = "Both", why = "no"},
]
"""


# The questions


def test_each_topic_of_the_syllabus_has_its_questions() -> None:
    assert [topic.title for topic in QUIZ.topics] == [
        "DAG design",
        "Scheduling",
        "Executors",
        "Data passing",
        "Mapping",
        "Event-driven",
        "Monitoring",
    ]
    assert all(len(QUIZ.of(topic)) >= 6 for topic in QUIZ.topics)
    # The page has them topic by topic, and so has the file.
    order = [question.topic for question in QUIZ.questions]
    assert order == [topic.key for topic in QUIZ.topics for _ in QUIZ.of(topic)]


def test_the_right_answer_is_not_to_be_guessed_from_its_looks() -> None:
    places = Counter(question.right for question in QUIZ.questions)
    assert all(places[letter] >= len(QUIZ.questions) / 6 for letter in LETTERS)
    longest = [
        question
        for question in QUIZ.questions
        if question.option(question.right) == max(question.options, key=lambda each: len(each.text))
    ]
    assert len(longest) <= len(QUIZ.questions) / 3


@each_question
def test_a_question_explains_every_option(question: Question) -> None:
    whys = [option.why for option in question.options]
    assert all(len(why) > 40 for why in whys)
    assert len(set(whys)) == len({option.text for option in question.options}) == len(whys)


@each_question
def test_a_question_names_what_to_read_again(question: Question) -> None:
    text = (FILE.parent / question.lecture).read_text("utf-8")
    if question.heading:
        assert re.search(rf"^#+ {re.escape(question.heading)}$", text, re.M)


@each_question
def test_the_proof_of_a_question_exists(question: Question) -> None:
    if not question.proof:
        return
    file, name = question.proof.split("::")
    tree = ast.parse((REPOSITORY / file).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_most_answers_are_proven() -> None:
    assert sum(bool(question.proof) for question in QUIZ.questions) >= 30


def test_code_that_airflow_refuses_has_an_error_and_its_proof() -> None:
    refused = [question for question in QUIZ.questions if question.error]
    assert refused
    assert all(question.proof.endswith("is_a_dag_file") for question in refused)


# The file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('why = "yes"', 'whi = "yes"', r"question 1 \(first\): option b: why: Field required"),
        ('title = "DAG design"', "", "topic 1: title: Field required"),
        ('right = "b"', 'right = "d"', r"question 1 \(first\): right: there is no option d"),
        ('right = "b"', 'right = "e"', r"question 1 \(first\): right: String should match"),
        ('"What?"', '" "', r"question 1 \(first\): text: is empty"),
        (
            'topic = "design"',
            'topic = "desing"',
            r"\(first\): topic: .*'desing'; there are: design",
        ),
        ('id = "first"', "", "question 1: id: Field required"),
        ("[[questions]]", "[[questions]", "not valid TOML: .*line 6"),
        ("01-why", "why", r"question 1 \(first\): lecture: String should match"),
        ("[[questions]]", "[[question]]", "quiz.toml: questions: Field required"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "quiz.toml"
    path.write_text(GOOD.replace(old, new, 1), "utf-8")
    with pytest.raises(CourseError, match=message) as caught:
        read(path)
    assert "quiz.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_good_file_is_read_and_an_absent_one_named(tmp_path: Path) -> None:
    path = tmp_path / "quiz.toml"
    with pytest.raises(CourseError, match=r"quiz\.toml cannot be read: No such file"):
        read(path)
    path.write_text(GOOD, "utf-8")
    assert read(path).questions[0].option("b").text == "That"


def test_two_questions_of_one_name_are_named(tmp_path: Path) -> None:
    path = tmp_path / "quiz.toml"
    path.write_text(GOOD + GOOD[GOOD.index("[[questions]]") :], "utf-8")
    with pytest.raises(CourseError, match=r"question 2 \(first\): id: used twice"):
        read(path)


@pytest.mark.parametrize("name", ["data", "Data passing", "DATA", "dat"])
def test_a_topic_is_found_by_what_people_type(name: str) -> None:
    assert QUIZ.topic(name).key == "data"


@pytest.mark.parametrize("name", ["cooking", "e", ""])
def test_a_topic_that_is_none_is_named_with_those_there_are(name: str) -> None:
    with pytest.raises(CourseError, match="there are: design, scheduling, executors"):
        QUIZ.topic(name)


# The page


def test_the_page_has_each_question_with_its_answers_folded_away() -> None:
    text = PAGE.read_text("utf-8")
    for topic in QUIZ.topics:
        assert f"\n## {topic.title}\n" in text
        for number, _ in enumerate(QUIZ.of(topic), 1):
            assert text.count(f"\n### {topic.title} {number}\n") == 1
    assert text.count("<summary>Answer</summary>") == len(QUIZ.questions)
    assert text.count("**Right.**") == len(QUIZ.questions)


def test_github_and_the_site_see_markdown_inside_of_the_answers() -> None:
    markdown = pytest.importorskip("markdown")
    text = PAGE.read_text("utf-8")
    options = sum(len(question.options) for question in QUIZ.questions)
    pages = [
        MarkdownIt().render(text),
        markdown.markdown(text, extensions=["md_in_html", "fenced_code"]),
    ]
    for page in pages:
        answers = re.findall(r"<details.*?</details>", page, re.S)
        assert len(answers) == len(QUIZ.questions)
        assert sum(answer.count("<li>") for answer in answers) == options
        assert all("<strong>Right.</strong>" in answer for answer in answers)
        assert not any("**" in answer or "`" in answer for answer in answers)


# A sitting


class Terminal:
    """A terminal in which `course quiz` runs."""

    def __init__(self, *arguments: str) -> None:
        self.descriptor, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("course"), "quiz", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_controlling,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
        )
        os.close(theirs)
        self._seen = ""

    def until(self, words: str) -> str:
        """Read until these words are there; return what came since the last call."""
        deadline = time.monotonic() + PATIENCE
        while words not in (text := ANSI.sub("", self._seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"waited {PATIENCE} s for {words!r}; on the screen: {text[-2000:]}"
            if select.select([self.descriptor], [], [], min(left, 1))[0]:
                self._seen += os.read(self.descriptor, 65536).decode(errors="replace")
        head, found, self._seen = text.partition(words)
        return head + found

    def end(self) -> tuple[int, str]:
        """Exit status, and all that was still to be read."""
        text, deadline = self._seen, time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not select.select([self.descriptor], [], [], 1)[0]:
                continue
            try:
                data = os.read(self.descriptor, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
            if not data:
                break
            text += data.decode(errors="replace")
        return self.process.wait(PATIENCE), ANSI.sub("", text)

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())


def _controlling() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches the process
    # Whoever starts the tests in the background has it ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def sit(config: Config) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.descriptor)


def test_a_sitting_from_the_choice_of_a_topic_to_the_result(
    sit: Callable[..., Terminal], config: Config
) -> None:
    topic = QUIZ.topics[1]
    questions = QUIZ.of(topic)
    terminal = sit()
    assert "Scheduling" in terminal.until("1–7 for a topic")
    terminal.type("9\n")
    terminal.until("There is no topic '9'")
    terminal.until("quit: ")
    terminal.type("2\n")
    for number, question in enumerate(questions, 1):
        screen = terminal.until("s skip, q quit: ")
        assert f"Scheduling · {number} of {len(questions)}" in screen
        if number == 1:
            terminal.type("x\n")
            terminal.until("One letter, please")
            terminal.until("q quit: ")
            wrong = next(letter for letter in question.letters if letter != question.right)
            terminal.type(f"{wrong}\n")
            terminal.until(f"✗ Not {wrong}.")
            terminal.until(f"It is {question.right}.")
        elif number == 2:
            terminal.type("s\n")
            terminal.until("Skipped.")
        else:
            terminal.type(f"{question.right.upper()}\n")
            terminal.until("✓ Right.")
    status, screen = terminal.end()
    assert status == 0
    result = rf"Scheduling +{len(questions) - 2} of {len(questions)} +lecture-notes/02-scheduling"
    assert re.search(result, screen)
    assert progress.load(config).quiz == {"scheduling": len(questions) - 2}
    shown = CliRunner().invoke(app, ["progress"], env={"COLUMNS": "200"})
    assert f"Scheduling {len(questions) - 2} of {len(questions)}" in shown.output


@pytest.mark.parametrize(("keys", "echo"), [("q\n", "q"), ("\x03", "^C"), ("\x04", "")])
def test_whoever_quits_keeps_what_was_answered(
    sit: Callable[..., Terminal], config: Config, keys: str, echo: str
) -> None:
    first = QUIZ.of(QUIZ.topics[0])[0]
    terminal = sit("design")
    terminal.until("q quit: ")
    terminal.type(f"{first.right}\n")
    terminal.until("DAG design · 2 of 6")
    terminal.until("q quit: ")
    terminal.type(keys)
    status, screen = terminal.end()
    assert status == 0
    assert re.search(r"DAG design +1 of 1", screen)
    assert "Traceback" not in screen
    assert progress.load(config).quiz == {"design": 1}


def test_whoever_quits_at_once_leaves_no_trace(
    sit: Callable[..., Terminal], config: Config
) -> None:
    terminal = sit()
    terminal.until("quit: ")
    terminal.type("\x04")
    status, screen = terminal.end()
    assert (status, "Ended." in screen) == (0, True)
    assert not progress.place(config).exists()


def test_the_best_result_stays(config: Config) -> None:
    from course.quiz_view import Session

    standing = progress.Progress(quiz={"design": 3})
    for right in (2, 5, 4):
        session = Session(QUIZ)
        session.right = QUIZ.of(QUIZ.topics[0])[:right]
        session.note(standing)
    assert standing.quiz == {"design": 5}


def test_what_is_drawn() -> None:
    mixed = draw(QUIZ, "all", None)
    assert len(mixed) == len(set(mixed)) == MIXED
    assert draw(QUIZ, "mapping", None) == QUIZ.of(QUIZ.topic("mapping"))
    assert len(draw(QUIZ, "mapping", 2)) == 2
    assert len(draw(QUIZ, "mapping", 99)) == len(QUIZ.of(QUIZ.topic("mapping")))
    assert len(draw(QUIZ, "all", 99)) == len(QUIZ.questions)


def test_without_a_terminal_it_says_so(config: Config) -> None:
    refused = CliRunner().invoke(app, ["quiz", "design"], input="a\n")
    assert refused.exit_code == 1
    assert "✗ The quiz needs a terminal to ask in, and this is none." in refused.output


def test_an_unknown_topic_is_named(config: Config) -> None:
    refused = CliRunner().invoke(app, ["quiz", "cooking"])
    assert refused.exit_code == 1
    assert "There is no topic 'cooking'; there are: design, scheduling" in refused.output


def test_progress_says_nothing_of_a_quiz_that_was_never_taken(config: Config) -> None:
    shown = CliRunner().invoke(app, ["progress"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    assert "Quiz" not in shown.output
