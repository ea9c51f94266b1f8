"""The markets: one origin and one group of carriers each, listed in a YAML file.

Light, because the DAG factory reads the list whenever Airflow parses it: pydantic and PyYAML
alone. A wrong entry is a ``Problem`` with its line; the others stay usable.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from flightdelays.errors import DataError
from flightdelays.requests import Month, explain
from flightdelays.settings import MODELS

ORIGINS = {"EWR": "Newark", "JFK": "John F. Kennedy", "LGA": "LaGuardia"}
CARRIERS = {
    "9E": "Endeavor Air",
    "AA": "American Airlines",
    "AS": "Alaska Airlines",
    "B6": "JetBlue Airways",
    "DL": "Delta Air Lines",
    "EV": "ExpressJet Airlines",
    "F9": "Frontier Airlines",
    "FL": "AirTran Airways",
    "HA": "Hawaiian Airlines",
    "MQ": "Envoy Air",
    "OO": "SkyWest Airlines",
    "UA": "United Air Lines",
    "US": "US Airways",
    "VX": "Virgin America",
    "WN": "Southwest Airlines",
    "YV": "Mesa Airlines",
}

# The parser in C is ten times as quick; it is absent where PyYAML was built without libyaml.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Market(BaseModel):
    """One entry of the list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origin: str = Field(description="airport: EWR, JFK or LGA")
    group: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")] = Field(
        description="name of the group of carriers: lower-case letters, digits and _"
    )
    carriers: tuple[str, ...] = Field(min_length=1, description="codes of the group's carriers")
    model: str = Field(default="logistic", description="kind of model to train")

    @field_validator("origin")
    @classmethod
    def _known_origin(cls, value: str) -> str:
        return _one_of(value, ORIGINS, "airport of New York")

    @field_validator("carriers")
    @classmethod
    def _known_carriers(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            _one_of(value, CARRIERS, "carrier")
        if len(set(values)) < len(values):
            raise ValueError("a carrier is listed twice: leave each once")
        return values

    @field_validator("model")
    @classmethod
    def _known_model(cls, value: str) -> str:
        return _one_of(value, MODELS, "model")

    @property
    def dag_id(self) -> str:
        """Id of its DAG; it does not depend on the place in the file."""
        return f"market_{self.origin.lower()}_{self.group}"

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{self.origin} {self.group}"


class Options(BaseModel):
    """What one run of a market may be asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    train_from: Month | None = None
    validation_month: Month | None = None

    @field_validator("model")
    @classmethod
    def _known_model(cls, value: str) -> str:
        return _one_of(value, MODELS, "model")


@dataclass(frozen=True)
class Problem:
    """What is wrong with an entry: line in the file, key, and what to do."""

    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}" + (f", {self.key}" if self.key else "")
        return f"{where}: {self.message}"


@dataclass(frozen=True)
class Markets:
    """What a file holds: the markets that can be used, and the problems of the other entries."""

    path: str
    markets: tuple[Market, ...] = ()
    problems: tuple[Problem, ...] = ()


def load(path: str | Path) -> Markets:
    """Read a list of markets; whatever is wrong with it becomes a problem, never an error."""
    try:
        text = Path(path).read_text("utf-8")
    except FileNotFoundError:
        return _nothing(path, "there is no such file: create it, or set FLIGHTDELAYS_MARKETS")
    except (OSError, UnicodeDecodeError) as error:
        return _nothing(path, f"cannot be read as UTF-8 text: {error}")
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        detail = " ".join(part for part in (error.context, error.problem) if part)
        return _nothing(path, f"is no YAML: {detail}. Mend this line", mark.line + 1 if mark else 1)
    except yaml.YAMLError as error:
        return _nothing(path, f"is no YAML: {error}")
    listed = _listed(root)
    if root is None or listed is None:
        line = root.start_mark.line + 1 if root else 1
        return _nothing(path, "holds no list of entries under the key `markets`: add one", line)
    markets: dict[str, tuple[Market, int]] = {}
    problems: list[Problem] = [
        Problem(key.start_mark.line + 1, key.value, "unknown key: the only one here is `markets`")
        for key, _ in root.value
        if key.value != "markets"
    ]
    for node in listed:
        found = _read(node)
        if isinstance(found, list):
            problems += found
        elif found.dag_id in markets:
            problems.append(_duplicate(node, found, *markets[found.dag_id]))
        else:
            markets[found.dag_id] = found, node.start_mark.line + 1
    return Markets(str(path), tuple(market for market, _ in markets.values()), tuple(problems))


def require(path: str | Path) -> tuple[Market, ...]:
    """The markets of a file without a fault; DataError with every problem and its line."""
    found = load(path)
    if found.problems:
        lines = "\n".join(f"  {problem}" for problem in sorted(found.problems, key=_by_line))
        raise DataError(
            f"{found.path}: {len(found.problems)} problem(s); the other {len(found.markets)} "
            f"market(s) have their DAGs\n{lines}"
        )
    return found.markets


def options(market: Market, wanted: Mapping[str, Any] | None) -> Options:
    """The options of a run; DataError names each that is unknown or wrong."""
    try:
        return Options.model_validate({"model": market.model} | dict(wanted or {}))
    except ValidationError as error:
        raise DataError(f"configuration of the run: {explain(error)}") from error


def _nothing(path: str | Path, message: str, line: int = 1) -> Markets:
    return Markets(str(path), problems=(Problem(line, "", message),))


def _listed(root: Any) -> list[Any] | None:
    """Nodes of the entries, or None if there are none."""
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if key.value == "markets" and isinstance(value, yaml.SequenceNode) and value.value:
                return list(value.value)
    return None


def _read(node: Any) -> Market | list[Problem]:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        return [Problem(line, "", "an entry has the keys origin, group, carriers and model")]
    if twice := list(_repeated_keys(node)):
        return twice
    loader = yaml.SafeLoader("")
    try:
        content = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or node.start_mark
        return [Problem(mark.line + 1, "", f"{error.problem}: write plain text or lists")]
    try:
        return Market.model_validate(content)
    except ValidationError as error:
        return [_problem(node, detail) for detail in error.errors()]


def _repeated_keys(node: Any) -> Iterator[Problem]:
    """A key that stands twice, of which PyYAML would silently take the last."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            message = f"the key also stands on line {lines[key.value]}: leave one of them"
            yield Problem(line, str(key.value), message)
        lines[key.value] = line


def _problem(node: Any, detail: Any) -> Problem:
    key = ".".join(str(part) for part in detail["loc"])
    line = _line(node, detail["loc"])
    known = ", ".join(Market.model_fields)
    given = detail["input"]
    match detail["type"]:
        case "missing":
            message = f"the key is missing: an entry needs {known} (model may be left out)"
        case "extra_forbidden":
            message = f"unknown key: choose from {known}"
        case "value_error":
            message = detail["msg"].removeprefix("Value error, ")
        case "tuple_type":
            message = f"{given!r} is no list: write [{given}]"
        case "too_short":
            message = "the list is empty: name at least one carrier"
        case "string_pattern_mismatch":
            message = f"{given!r} is no name: use lower-case letters, digits and _, letter first"
        case "string_type":
            message = f"{given!r} is no text: put it into quotes"
        case _:
            message = f"{detail['msg']} (found {given!r})"
    return Problem(line, key, message)


def _line(node: Any, location: tuple[Any, ...]) -> int:
    """Line of the part of an entry that pydantic names; of the entry if that part is absent."""
    line: int = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == part]
            if not pairs:
                return line
            line, node = pairs[0][0].start_mark.line + 1, pairs[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _duplicate(node: Any, market: Market, first: Market, line: int) -> Problem:
    what = "the same entry" if market == first else "another entry of this origin and group"
    return Problem(
        _line(node, ("group",)),
        "group",
        f"{market.title!r} is {what} as on line {line}, which counts: rename or remove one",
    )


def _one_of(value: str, known: Any, what: str) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is no {what} of the data: choose from {', '.join(known)}")
    return value


def _by_line(problem: Problem) -> int:
    return problem.line
