"""The grader: runs a learner's DAG in a real Airflow and says what works and what does not.

A file of checks (`exercises/*/checks.py`) is a pytest file that uses three names of this package:
``task`` says to which numbered task a check belongs, the fixture ``lesson`` runs the DAG, and
``Failed`` is raised with what ran, what was expected and what happened (``spell`` puts a value in
words).
"""

from course.grading.lesson import Failed, Lesson, task
from course.grading.runs import Run, spell

__all__ = ["Failed", "Lesson", "Run", "spell", "task"]
