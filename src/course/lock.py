"""Compares what is installed with the lock, and the lock with what was asked for."""

import importlib.metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel


class Differences(BaseModel):
    """One sentence for each difference."""

    installed: list[str]
    lock: list[str]


def pins(path: Path) -> dict[str, Requirement]:
    """The requirements of a file that hold on this machine, by normalised name."""
    found: dict[str, Requirement] = {}
    for line in path.read_text().splitlines():
        text = line.split("#")[0].rstrip(" \\")
        if not text or text[0].isspace():
            # A comment, or the hashes of the line above.
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            # An option of pip, such as --index-url.
            continue
        if requirement.marker is None or requirement.marker.evaluate():
            found[canonicalize_name(requirement.name)] = requirement
    return found


def differences(lock: Path, wanted: Path) -> Differences:
    """What differs between the environment, the lock and the requirements by hand."""
    locked = pins(lock)
    installed = []
    for name, requirement in locked.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed.append(f"{requirement.name} is not installed")
            continue
        if version not in requirement.specifier:
            installed.append(
                f"{requirement.name} {version} is installed, the lock has {requirement.specifier}"
            )
    outdated = []
    for name, requirement in pins(wanted).items():
        pinned = str(locked[name].specifier).removeprefix("==") if name in locked else None
        if pinned is None:
            outdated.append(f"{lock.name} does not hold {requirement.name}, {wanted.name} does")
        elif pinned not in requirement.specifier:
            outdated.append(f"{lock.name} has {requirement.name} {pinned}, {wanted.name} differs")
    return Differences(installed=installed, lock=outdated)
