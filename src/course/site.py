"""Makes the site of the Markdown in this repository, as hooks of MkDocs.

The pages are not copied and not rewritten by hand: what GitHub shows is what the site shows. A
link to a source file leads to a page with its text, a link to a folder to what is in it.
"""

import re
from pathlib import PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

from course.config import REPOSITORY, load_config
from course.mermaid import place
from course.pages import LANGUAGES, pages, tracked

PICTURES = {".png", ".svg"}
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
PROGRAM = "javascripts/mermaid.min.js"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Bring the program along that draws diagrams, if it was fetched."""
    if place(load_config().root / "data").exists():
        config.extra_javascript.append(PROGRAM)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, the pictures, and a page for each source file and folder they link to."""
    known = tracked()
    for page in pages():
        name = str(page.relative_to(REPOSITORY))
        files.append(File.generated(config, name, abs_src_path=str(page)))
        if page.name == "hints.md":
            _hide(files, name)
    for name in known:
        if PurePosixPath(name).suffix in PICTURES:
            files.append(File.generated(config, name, abs_src_path=str(REPOSITORY / name)))
    program = place(load_config().root / "data")
    if program.exists():
        files.append(File.generated(config, PROGRAM, abs_src_path=str(program)))
    for target in sorted(_linked()):
        if target in known:
            _add_source(files, config, target)
        elif not (REPOSITORY / target / "README.md").exists():
            inside = [name for name in known if str(PurePosixPath(name).parent) == target]
            text = _listing(target, inside)
            files.append(File.generated(config, f"{target}/README.md", content=text))
            _hide(files, f"{target}/README.md")
            for name in inside:
                _add_source(files, config, name)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to source files and folders lead to their pages; render what is folded away."""
    folder = PurePosixPath(page.file.src_uri).parent

    def lead(found: re.Match[str]) -> str:
        target = _resolve(folder, found[2])
        if target is None:
            return found[0]
        path = REPOSITORY / target
        if path.is_dir():
            return f"{found[1]}{found[2].rstrip('/')}/README.md{found[3] or ''}{found[4]}"
        if path.is_file() and path.suffix not in {".md", *PICTURES}:
            return f"{found[1]}{found[2]}.md{found[4]}"
        return found[0]

    # GitHub renders Markdown in there by itself, Python-Markdown when it is told to.
    text = re.sub(r"<details>", '<details markdown="1">', markdown)
    return LINK.sub(lead, text)


def _resolve(folder: PurePosixPath, target: str) -> str | None:
    """A link as a path from the root of the repository; None if it leads elsewhere."""
    if re.match(r"[a-z]+:", target):
        return None
    path = (REPOSITORY / folder / target).resolve()
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else None


def _linked() -> set[str]:
    """Source files and folders that some page links to."""
    found = set()
    for page in pages():
        folder = PurePosixPath(str(page.relative_to(REPOSITORY).parent))
        for link in LINK.finditer(page.read_text("utf-8")):
            target = _resolve(folder, link[2])
            if target and PurePosixPath(target).suffix not in {".md", *PICTURES}:
                found.add(target)
    return found


def _add_source(files: Files, config: MkDocsConfig, name: str) -> None:
    uri = f"{name}.md"
    path = REPOSITORY / name
    if files.get_file_from_path(uri) or path.suffix in {".md", *PICTURES}:
        return
    language = "make" if path.name == "Makefile" else LANGUAGES.get(path.suffix, "text")
    text = f"# {name}\n\n~~~~~~ {language}\n{path.read_text('utf-8').rstrip()}\n~~~~~~\n"
    files.append(File.generated(config, uri, content=text))
    _hide(files, uri)


def _listing(folder: str, inside: list[str]) -> str:
    lines = [f"- [{PurePosixPath(name).name}]({PurePosixPath(name).name})" for name in inside]
    return f"# {folder}\n\n" + "\n".join(sorted(lines)) + "\n"


def _hide(files: Files, uri: str) -> None:
    file = files.get_file_from_path(uri)
    if file is not None:
        file.inclusion = InclusionLevel.NOT_IN_NAV
