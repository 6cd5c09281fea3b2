"""`dlcexp browse`: augmented training batches as a picture, before training."""

from dlcexp.commands.arguments import take_config_dir, take_values, wants_help
from dlcexp.errors import UserError
from dlcexp.files import expanded

HELP = """\
dlcexp browse [group=option ...] [key=value ...]

Draws what the pose model will see: augmented training images with their labels, and the maps that
it is to learn. Nothing is trained. Takes every override of `dlcexp train`.

  browse.file=batches.png  the picture
  browse.batches=1         how many batches of batch_size images

  dlcexp browse project=~/mouse data.train.affine.rotation=180 batch_size=8
"""


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    from dlcexp.composition import compose_run

    overrides, config_dir = take_config_dir(words)
    overrides, settings = take_values(overrides, ["browse.file", "browse.batches"])
    batches = settings.get("browse.batches", "1")
    if not batches.isdecimal() or int(batches) < 1:
        raise UserError(f"browse.batches: {batches!r} is not a number of batches.")
    cfg, _ = compose_run(overrides, config_dir)

    from dlcexp.training.browse import browse

    path = expanded(settings.get("browse.file", "batches.png"))
    print(f"wrote {browse(cfg, path, int(batches))}")
    return 0
