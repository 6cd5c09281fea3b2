"""Names that other tools have for keys of dlcexp."""

_SIZE = ("data.longest_max_size=", "data.resize.width=", "data.top_down_crop.width=")
_PREDICT = ("dlcexp predict RUN source=",)

# What to type instead. The last part of a key need not be here: `lr` is found as optimizer.lr.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "accelerator": ("device=",),
    "batch": ("batch_size=",),
    "bs": ("batch_size=",),
    "check_val_every_n_epoch": ("trainer.eval_interval=",),
    "cuda": ("device=cuda",),
    "enable_checkpointing": ("save_epochs=",),
    "enable_progress_bar": ("trainer.progress_bar=",),
    "fast_dev_run": ("epochs=1",),
    "folds": ("split=kfold split.k=",),
    "gpu": ("device=cuda:0",),
    "gpus": ("trainer.devices=",),
    "gputouse": ("device=cuda:0",),
    "image_size": _SIZE,
    "img_size": _SIZE,
    "imgsz": _SIZE,
    "learning_rate": ("optimizer.lr=",),
    "log_every_n_steps": ("trainer.display_iters=",),
    "max_epochs": ("epochs=",),
    "max_steps": ("epochs=",),
    "max_time": ("callbacks=timer callbacks.timer.duration=",),
    "momentum": ("optimizer=sgd optimizer.momentum=",),
    "patience": ("trainer.early_stopping.patience=",),
    "pretrained": ("weights=imagenet", "weights=random"),
    "shuffle": ("split=dlc_shuffle split.shuffle=",),
    "source": _PREDICT,
    "val_check_interval": ("trainer.eval_interval=",),
    "video": _PREDICT,
    "videos": _PREDICT,
    "wandb": ("logger=[csv,wandb]",),
    "workers": ("trainer.num_workers=",),
}


def synonym(name: str) -> str:
    """Return a sentence with what to type instead of a name of other tools; empty for any other."""
    meant = " or ".join(map(repr, SYNONYMS.get(name.lower(), ())))
    return f" Did you mean {meant}?" if meant else ""
