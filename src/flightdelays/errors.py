"""Errors that a person can act on: one sentence, with what is at fault and what to do."""


class CourseError(Exception):
    """Something is wrong that a person must mend; trying again does not help."""


class DataError(CourseError):
    """The data are wrong: the message names file and column, or month."""


class NotPublishedError(DataError):
    """The source has nothing for the month: the message names file, month and coverage."""


class QualityError(DataError):
    """The training set failed the quality gate: the message names each failed expectation."""


class LakeError(CourseError):
    """The lake cannot be read or written: the message names the path."""


class ServiceError(Exception):
    """A service does not answer: the message names the address. Trying again may help."""
