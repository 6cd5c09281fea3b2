"""`dlcexp predict`: poses in images and videos, in DeepLabCut's files."""

from dlcexp.commands.arguments import take_values, wants_help
from dlcexp.errors import UserError, nearest
from dlcexp.files import expanded

HELP = """\
dlcexp predict run=DIR source=PATH [key=value ...]

Finds the animals in images and videos and writes the poses beside them, in DeepLabCut's files:
NAME<scorer>.h5 and .csv, and the _meta, _full and _assemblies.pickle that its tracking reads.
A job that was stopped goes on where it was; what is finished is not done again.

  run=DIR                  a run folder
  source=PATH              an image, a video, a folder or a pattern: 'source=videos/*.mp4'
  output=DIR               where the files go; beside the source unless given
  label=true               draw the poses into a copy of each video, too (also later on)
  snapshot=best            pose model: best, an epoch (the periodic snapshot of it), or a file
  conditions=PATH          conditional top-down: what tells of the animals
  csv=true                 the table as text, too
  overwrite=false          find poses again where there are some
  shuffle=0                number in the scorer's name, by which DeepLabCut's tools find the files:
                           that of the shuffle that the run is installed as
  predict.batch_size=N     frames at once, bottom-up; chosen by their size unless given, on a CPU 1
  predict.precision=32     32, bf16 or 16: format in which the pose model computes
  predict.backend=torch    torch, or onnx: ONNX Runtime on the CPU (pip install 'dlcexp[onnx]'), by
                           a file exported once into the run folder
  device=auto              any key of the run's tree: evaluation.pcutoff (what is drawn), ...
"""

_OWN = ("run", "source", "output", "label", "snapshot", "conditions", "csv", "overwrite", "shuffle")
_PREDICT = ("predict.batch_size", "predict.precision", "predict.backend")
_TRUTH = {"true": True, "false": False}


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    words = ["label=true" if word == "--label" else word for word in words]
    overrides, settings = take_values(words, [*_OWN, *_PREDICT])
    for word in overrides:
        name = word.partition("=")[0]
        if name.startswith("predict"):
            raise UserError(f"{name}: there is no such key.{nearest(name, _PREDICT)}")
    for needed, what in (("run", "the folder of a finished run"), ("source", "images or videos")):
        if needed not in settings:
            raise UserError(f"{needed}= is needed: {what}.")
    label, csv, overwrite = (
        _truth(settings, name, default)
        for name, default in (("label", False), ("csv", True), ("overwrite", False))
    )
    shuffle, batch_size = _number(settings, "shuffle", 0), _number(settings, _PREDICT[0], 0)

    from dataclasses import replace

    from dlcexp.commands.evaluate import opened
    from dlcexp.commands.train import log_to_console
    from dlcexp.config.compose import modified
    from dlcexp.config.overrides import parse_overrides
    from dlcexp.inference.analyze import Wishes, analyze
    from dlcexp.inference.finder import PoseFinder
    from dlcexp.inference.sources import find_sources

    log_to_console()
    finished, snapshot = opened(settings, overrides)
    if overrides:
        finished = replace(finished, cfg=modified(finished.cfg, parse_overrides(overrides)))
    sources = find_sources(_several(settings["source"]))
    finder = PoseFinder(
        finished,
        snapshot=snapshot,
        conditions=settings.get("conditions"),
        batch_size=batch_size or None,
        precision=settings.get("predict.precision", "32"),
        backend=settings.get("predict.backend", "torch"),
    )
    output = expanded(settings["output"]) if "output" in settings else None
    wishes = Wishes(output, csv=csv, label=label, overwrite=overwrite, shuffle=shuffle)
    for source in sources:
        for path in analyze(finder, source, wishes):
            print(path)
    return 0


def _several(value: str) -> list[str]:
    """`[a.mp4,b.mp4]` names several."""
    return value[1:-1].split(",") if value.startswith("[") and value.endswith("]") else [value]


def _truth(settings: dict[str, str], name: str, default: bool) -> bool:
    word = settings.get(name, str(default)).lower()
    if word not in _TRUTH:
        raise UserError(f"{name}: {settings[name]!r} is not true or false.")
    return _TRUTH[word]


def _number(settings: dict[str, str], name: str, default: int) -> int:
    word = settings.get(name, str(default))
    if not word.isdecimal():
        raise UserError(f"{name}: {word!r} is not a whole number.")
    return int(word)
