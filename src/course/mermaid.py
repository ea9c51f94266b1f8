"""The program that draws the diagrams of the site, brought along for readers without a network.

mermaid (https://mermaid.js.org, MIT licence) is published for npm. Where there is npm, `make site`
puts it beside the pages; where not, the reader's browser loads it from the address that Material
names.
"""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from course.errors import CourseError
from course.files import write_atomic

VERSION = "11.17.2"
MEMBER = "package/dist/mermaid.min.js"
SHA256 = "581ed7d74bd9048d0e3a91363927d72ef22942d7722546b27f7cc29e35390eb8"


def place(folder: Path) -> Path:
    """Where the program lies below the folder of downloads."""
    return folder / f"mermaid-{VERSION}.min.js"


def fetch(folder: Path) -> Path | None:
    """Put the program into ``folder``; None without npm, or when npm cannot get it.

    CourseError if what came is not what the course expects; ``folder`` then holds no file of it.
    """
    path = place(folder)
    if path.exists() and _sha256(path.read_bytes()) == SHA256:
        return path
    npm = shutil.which("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        command = [npm, "pack", "--silent", f"mermaid@{VERSION}"]
        done = subprocess.run(command, cwd=temporary, capture_output=True, check=False)
        packed = list(Path(temporary).glob("mermaid-*.tgz"))
        if done.returncode or not packed:
            return None
        with tarfile.open(packed[0]) as archive:
            member = archive.extractfile(MEMBER)
            program = member.read() if member is not None else b""
    if _sha256(program) != SHA256:
        raise CourseError(
            f"What npm calls mermaid {VERSION} is not what the course expects.",
            "look at the registry that npm uses: npm config get registry",
        )
    write_atomic(path, program)
    return path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
