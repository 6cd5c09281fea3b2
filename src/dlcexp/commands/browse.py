"""`dlcexp browse`: augmented training batches as a picture, before training."""

from pathlib import Path

from dlcexp.commands.settings import CONFIG_DIR, PATH, Command, Setting, whole

COMMAND = Command(
    name="browse",
    about="""
        Draws what the pose model will see: augmented training images with their labels, and the
        target maps that it learns. Nothing is trained. Takes every override of `dlcexp train`.
    """,
    settings=(
        Setting("browse.file", PATH, "the picture to write", default=Path("batches.png")),
        Setting("browse.batches", whole(1), "number of batches of batch_size images", default=1),
        CONFIG_DIR,
    ),
    takes_overrides=True,
    namespace="browse",
    examples=("dlcexp browse project=~/mouse data.train.affine.rotation=180 batch_size=8",),
)


def run(file: Path, batches: int, config_dir: Path | None, overrides: list[str]) -> int:
    """Draw the first batches of an experiment, and print where the picture is."""
    from dlcexp.composition import compose_run

    cfg, _ = compose_run(overrides, config_dir)

    from dlcexp.commands.train import log_to_console
    from dlcexp.training.browse import browse

    log_to_console()
    print(f"wrote {browse(cfg, file, batches)}")
    return 0
