"""What the site shows beside docs/: the README as its first page, and every file and folder that a document links to.

Documents link to each other and into the repository by relative paths, as a reader of the repository wants it. For the site each
such path gets a place, and the links are turned there: `make docs` fails where one leads nowhere.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r'(?P<before>\]\(|src=")(?P<path>[^)\s"#]+)(?P<anchor>#[^)\s"]*)?(?=[)"])')
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = {".py": "python", ".toml": "toml", ".sh": "sh", ".yaml": "yaml", ".cff": "yaml", "": "text"}
SHOWN = (".md", ".json", ".jsonl", ".png", ".py", ".toml", ".html")  # files of a folder that a page about it offers
origin: dict[str, Path] = {}  # where each page of the site lies in the repository


def place(path: Path) -> str:
    """Where a file or folder of the repository lies in the site's sources."""
    inside = path.relative_to(ROOT).as_posix()
    if path == ROOT / "README.md":
        return "index.md"
    if path.is_relative_to(DOCS) and path.suffix != ".py":
        return path.relative_to(DOCS).as_posix()
    if path.suffix == ".md":
        return inside if path.parent == ROOT else f"files/{inside}"
    if path.is_dir():
        return f"files/{inside}/index.md"
    return f"files/{inside}.md" if path.suffix in CODE else f"files/{inside}"


def linked(path: Path, text: str) -> list[Path]:
    """The files and folders of the repository that a document links to."""
    found = [(path.parent / match["path"]).resolve() for match in LINK.finditer(FENCE.sub("", text)) if ours(match["path"])]
    return [there for there in found if there.exists() and there.is_relative_to(ROOT)]


def ours(link: str) -> bool:
    """Whether a link is a path and no address."""
    return not re.match(r"\w+:|/", link)


def turned(text: str, path: Path, uri: str) -> str:
    """The text of a document with its links turned to places of the site."""

    def turn(match: re.Match[str]) -> str:
        there = (path.parent / match["path"]).resolve()
        if not ours(match["path"]) or not there.is_relative_to(ROOT):
            return match[0]
        return f"{match['before']}{posixpath.relpath(place(there), posixpath.dirname(uri) or '.')}{match['anchor'] or ''}"

    parts, last = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(turn, text[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*parts, LINK.sub(turn, text[last:])])


def about(folder: Path) -> str:
    """A page that offers the files of a folder; its README first, and its picture."""
    inside = folder.relative_to(ROOT).as_posix()
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix in SHOWN and "__pycache__" not in path.parts
    )
    lines = [f"# {inside}", ""]
    if folder / "preview.png" in files:
        lines += ["![The images](preview.png)", ""]
    for path in files:
        lines.append(f"- [{path.relative_to(folder).as_posix()}]({posixpath.relpath(place(path), f'files/{inside}')})")
    return "\n".join(lines) + "\n"


def on_files(files: Any, *, config: Any) -> Any:
    """Add the README, the other documents of the root, and whatever any of them links to, until nothing new is linked to."""
    from mkdocs.structure.files import File

    waiting = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
    origin.clear()
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        uri = place(path)
        if path.is_dir():
            files.append(File.generated(config, uri, content=about(path)))
            waiting += [ROOT / one for one in linked_from(path)]
        elif path.suffix == ".md":
            origin[uri] = path
            if not path.is_relative_to(DOCS):
                files.append(File.generated(config, uri, abs_src_path=str(path)))
            waiting += linked(path, path.read_text("utf-8"))
        elif uri.startswith("files/"):
            if path.suffix in CODE:
                text = path.read_text("utf-8").replace("```", "` ` `")
                title = path.relative_to(ROOT).as_posix()
                files.append(File.generated(config, uri, content=f"# {title}\n\n```{CODE[path.suffix]}\n{text}\n```\n"))
            else:
                files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def linked_from(folder: Path) -> list[Path]:
    """The files that the page about a folder offers."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix in SHOWN and "__pycache__" not in path.parts]


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Turn the links of a document."""
    uri = page.file.src_uri
    return turned(markdown, origin[uri], uri) if uri in origin else markdown
