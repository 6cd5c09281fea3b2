"""The model and the frames that poses come from: kept with them, so that none pass for others."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from dlcexp.files import digest, hashed, state
from dlcexp.inference.sources import Source


class Origin:
    """The model that finds poses, and the frames in which it does.

    Args:
        model: see `PoseFinder.identity`.
        source: the frames.

    Attributes:
        files: {path of the video or of an image: [bytes, time of change in ns]}.
    """

    def __init__(self, model: Mapping[str, Any], source: Source) -> None:
        self.model = dict(model)
        self.path = str(source.path.resolve())
        self.files = {str(path.resolve()): [*state(path)] for path in source.files}
        self._source = source

    @cached_property
    def frames(self) -> str:
        """A digest of the content of all files, and of the names of the frames."""
        return hashed([list(map(digest, self._source.files)), [*map(str, self._source.names)]])

    def record(self) -> dict[str, Any]:
        """Return plain values with which another origin can be compared."""
        return {"model": self.model, "path": self.path, "files": self.files, "frames": self.frames}

    def made_with(self) -> dict[str, Any]:
        """Return plain values that differ once a file is written again, even with the same."""
        return {"model": self.model, "path": self.path, "files": hashed(self.files)}

    def difference(self, recorded: Mapping[str, Any]) -> str:
        """Return the part in which recorded poses differ, as text; empty where they are these."""
        if not self._same_frames(recorded):
            return "different frames"
        model = recorded["model"]
        parts = [name for name, value in self.model.items() if value != model.get(name)]
        return f"different {', '.join(parts)}" if parts else ""

    def replaces_others(self, recorded: Mapping[str, Any]) -> bool:
        """Return True if recorded poses are of another source, or of a part that is left out."""
        if self._same_frames(recorded):
            return False
        left_out = recorded["files"].keys() - self.files.keys()
        return recorded["path"] != self.path or any(Path(each).is_file() for each in left_out)

    def _same_frames(self, recorded: Mapping[str, Any]) -> bool:
        """Files that were only copied, moved or touched are the same."""
        return self.files == recorded["files"] or self.frames == recorded["frames"]
