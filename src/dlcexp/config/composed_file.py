"""A file of options in a composed tree: where it is, what it fills, and on which lines."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dlcexp.config.options import conf_folder
from dlcexp.yaml_files import comments_in, lines_of_keys, read_text


@dataclass(frozen=True)
class ComposedFile:
    """A file of options in a composed tree.

    Attributes:
        path: of the file.
        group: that it is an option of; empty for the table of contents.
        package: dotted path of the node that it fills; empty for the whole tree.
    """

    path: Path
    group: str
    package: str

    @property
    def place(self) -> str:
        """The path as a reader finds it: `conf/...` for the options of dlcexp."""
        if self.path.is_relative_to(conf_folder()):
            return f"conf/{self.path.relative_to(conf_folder()).as_posix()}"
        working = Path.cwd()
        near = self.path.is_relative_to(working)
        return (self.path.relative_to(working) if near else self.path).as_posix()

    def line_of(self, key: str) -> int | None:
        """Return the line, from 1, on which the file sets a key of the tree; None if it does not.

        An option sets the node that it fills on its first line.
        """
        return 1 if key == self.package else self._lines.get(self._inside(key))

    def comment_on(self, key: str) -> str:
        """Return the comment on the line on which the file sets a key of the tree."""
        return comments_in(read_text(self.path)).get(self._inside(key), "")

    @cached_property
    def _lines(self) -> dict[str, int]:
        return lines_of_keys(read_text(self.path))

    def _inside(self, key: str) -> str:
        """Return the key as the file has it; empty for one that is elsewhere in the tree."""
        before = f"{self.package}." if self.package else ""
        return key.removeprefix(before) if key.startswith(before) else ""
