"""Names that other tools have for keys of dlcexp."""

_SIZE = ("data.longest_max_size=", "data.resize.width=", "data.top_down_crop.width=")
_PREDICT = ("dlcexp predict RUN source=",)

# What to type instead. The last part of a key need not be here: `lr` is found as optimizer.lr.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "batch": ("batch_size=",),
    "bs": ("batch_size=",),
    "cuda": ("device=cuda",),
    "folds": ("split=kfold split.k=",),
    "gpu": ("device=cuda:0",),
    "gpus": ("trainer.devices=",),
    "gputouse": ("device=cuda:0",),
    "image_size": _SIZE,
    "img_size": _SIZE,
    "imgsz": _SIZE,
    "learning_rate": ("optimizer.lr=",),
    "max_epochs": ("epochs=",),
    "momentum": ("optimizer=sgd optimizer.momentum=",),
    "patience": ("trainer.early_stopping.patience=",),
    "pretrained": ("model.backbone.weights=hub", "weights.path="),
    "shuffle": ("split=dlc_shuffle split.shuffle=",),
    "source": _PREDICT,
    "video": _PREDICT,
    "videos": _PREDICT,
    "wandb": ("logger=[csv,wandb]",),
    "workers": ("trainer.num_workers=",),
}


def synonym(name: str) -> str:
    """Return a sentence with what to type instead of a name of other tools; empty for any other."""
    meant = " or ".join(map(repr, SYNONYMS.get(name.lower(), ())))
    return f" Did you mean {meant}?" if meant else ""
