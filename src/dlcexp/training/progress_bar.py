"""Progress of a run: a bar on a terminal, lines in the log elsewhere."""

import logging
import sys
from contextlib import ExitStack
from time import monotonic
from typing import Any

from lightning.pytorch import Callback, Trainer
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dlcexp.text import clock, shows_bars
from dlcexp.training.module import StageModule, whole_epochs

logger = logging.getLogger(__name__)


def progress(trainer_cfg: Any) -> Callback:
    """Return a bar if it is wanted and there is a terminal or notebook, else lines in the log."""
    if trainer_cfg.progress_bar and shows_bars():
        return ProgressBar()
    return ProgressLines(trainer_cfg.display_iters)


class ProgressBar(Callback):
    """One bar over all epochs: images/s, mean loss of the epoch, time left."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._bar: tqdm | None = None

    def on_train_start(self, trainer: Trainer, module: StageModule) -> None:  # type: ignore[override]
        """Show the bar, with what an earlier process has done already."""
        if not trainer.is_global_zero:
            return
        images = _images_per_epoch(trainer)
        done = whole_epochs(trainer)
        # A logger without a handler on the terminal must not get one: its records would be doubled.
        loggers = [logging.getLogger(), logging.getLogger("dlcexp")]
        shown = [each for each in loggers if any(map(_is_of_terminal, each.handlers))]
        self._stack.enter_context(logging_redirect_tqdm(shown))
        self._bar = tqdm(
            total=images * (trainer.max_epochs or 0),
            initial=images * done,
            unit=" images",
            dynamic_ncols=True,
        )

    def on_train_epoch_start(self, trainer: Trainer, module: StageModule) -> None:  # type: ignore[override]
        """Name the epoch."""
        if self._bar is not None:
            self._bar.set_description(
                f"{module.stage.log_prefix}epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            )

    def on_train_batch_end(self, trainer: Trainer, module: StageModule, *args: Any) -> None:  # type: ignore[override]
        """Move on by the images of one step."""
        if self._bar is None:
            return
        step = args[-1]
        last = step + 1 == trainer.num_training_batches
        self._bar.update(len(args[-2]["image"]) * trainer.world_size)
        self._bar.set_postfix(loss=f"{module.meter.latest:.4g}", refresh=last)

    def on_train_end(self, trainer: Trainer, module: StageModule) -> None:  # type: ignore[override]
        """Leave the bar as it is and go to the next line."""
        self._close()

    def on_exception(self, trainer: Trainer, module: StageModule, exception: BaseException) -> None:  # type: ignore[override]
        """Free the line for the message that follows."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._stack.close()


class ProgressLines(Callback):
    """A line in the log every `every` steps; the end of each epoch has a separate line."""

    def __init__(self, every: int) -> None:
        self.every = every
        self._clock = Clock()

    def on_train_start(self, trainer: Trainer, module: StageModule) -> None:  # type: ignore[override]
        """Start the clock."""
        done = whole_epochs(trainer)
        self._clock = Clock(done * int(trainer.num_training_batches))

    def on_train_batch_end(self, trainer: Trainer, module: StageModule, *args: Any) -> None:  # type: ignore[override]
        """Log the epoch, step, loss, speed and time left."""
        epochs, batches = trainer.max_epochs or 0, int(trainer.num_training_batches)
        steps = trainer.current_epoch * batches + args[-1] + 1
        if steps % self.every or not trainer.is_global_zero:
            return
        logger.info(
            "%sepoch %d/%d  step %d/%d  loss %.4g  %.1f images/s  %s left",
            module.stage.log_prefix,
            trainer.current_epoch + 1,
            epochs,
            args[-1] + 1,
            batches,
            module.meter.current(),
            module.meter.images_per_second * trainer.world_size,
            self._clock.left(steps, epochs * batches),
        )


class Clock:
    """An estimate of the time left.

    Args:
        done: what was done before the clock started.
    """

    def __init__(self, done: int = 0) -> None:
        self._done = done
        self._started = monotonic()

    def left(self, done: int, total: int) -> str:
        """Return the time for the rest, `0:03:05`, when `done` of `total` are behind us."""
        each = (monotonic() - self._started) / max(done - self._done, 1)
        return clock(each * (total - done))


def _is_of_terminal(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr)


def _images_per_epoch(trainer: Trainer) -> int:
    """Images that all processes see in one epoch."""
    loader: Any = trainer.train_dataloader
    return len(loader.sampler) * trainer.world_size
