"""A sign in a folder, by which another machine knows that it sees the folder that is meant."""

from dataclasses import dataclass
from pathlib import Path

from datadam.errors import RunFailed
from datadam.files.whole import write_text

NAME = ".seen"


@dataclass(frozen=True)
class Sign:
    """The sign in a `folder`: words that no other folder has."""

    folder: str
    words: str

    @classmethod
    def left(cls, folder: Path, words: str) -> "Sign":
        """One that is left in the folder now. Raises `RunFailed` where it cannot be written."""
        write_text(folder / NAME, words)
        return cls(str(folder.resolve()), words)

    def require(self) -> Path:
        """The folder. Raises `RunFailed` unless this machine sees it, with the sign."""
        path = Path(self.folder) / NAME
        if not path.exists() or path.read_text() != self.words:
            raise RunFailed(f"a worker does not see the folder {self.folder}; choose one with --out that all machines share")
        return Path(self.folder)

    def remove(self) -> None:
        """Take it away."""
        (Path(self.folder) / NAME).unlink(missing_ok=True)
