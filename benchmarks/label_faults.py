"""Measure how many faulty labels `dlcexp evaluate` lists as labels to check.

    python benchmarks/label_faults.py project=PATH folder=DIR [faults=30] [seed=0] [key=value ...]

Copies a project to `folder`, puts faults into its labels, each in a different frame, and
cross-validates a recipe on the faulty labels, as a user would who does not know of them. Then it
prints how many faults of each kind `labels_to_check.csv` lists, and how many other labels; and the
same of the most suspicious labels among which are 5 % of the others. A fault is found if one of its
labels is listed.

- swaps: a left and a right bodypart of an animal, such as the ears, are exchanged;
- shifts: a label is moved by 20 px in a random direction;
- exchanges: two animals have each other's label of a bodypart (projects of several animals).

A swap or an exchange of labels that lie within 10 px of each other is not drawn. Overrides, such
as `epochs=40` or `split.k=3 split.fold=range(3)`, apply to all folds. Completed folds in `folder`
are not trained again.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator

from dlcexp.cli import main
from dlcexp.evaluation.label_check import labels_with_p_values
from dlcexp.project import Labels, Project, load_labels, open_project
from dlcexp.project.dlc_tables import read_table
from dlcexp.project.frames import frame_name
from dlcexp.vocabulary import LABEL_TABLE, LABELED_DATA, LABELS

SHIFT, LEAST = 20.0, 10.0  # px
FALSE_FLAGS = 0.05
FOLDS = {"split": "kfold", "split.fold": "range(5)", "hydra/launcher": "basic"}
SIDES = (("left", "right"), ("Left", "Right"), ("L", "R"))
KEYS = ["frame", "individual", "bodypart"]
Place = tuple[int, int, int]  # frame, individual, bodypart


@dataclass(frozen=True)
class Fault:
    """A wrong label or a pair of them: what is wrong, and which labels by individual, bodypart."""

    kind: str
    frame: str
    labels: tuple[tuple[str, str], ...]


def run() -> None:
    given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    if not {"project", "folder"} <= set(given):
        sys.exit(__doc__)
    source, folder = Path(given.pop("project")), Path(given.pop("folder"))
    count, seed = int(given.pop("faults", "30")), int(given.pop("seed", "0"))
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "faults.json"
    if not record.is_file():
        faults = write_faulty_copy(source, folder / "project", count, np.random.default_rng(seed))
        record.write_text(json.dumps([asdict(fault) for fault in faults], indent=1))
    sweep = folder / "sweep"
    settings = {"project": folder / "project", **FOLDS, **given, "hydra.sweep.dir": sweep}
    if main(["-m", *(f"{key}={value}" for key, value in settings.items())]):
        sys.exit("The folds could not be trained.")
    main(["evaluate", str(sweep)])
    print(summary(sweep, json.loads(record.read_text())).to_string(index=False))


def summary(folder: Path, faults: list[dict]) -> pd.DataFrame:
    """Return a row for each kind of fault, and for the labels without one."""
    records = pd.read_csv(folder / "evaluation.csv")
    split = "test" if "test" in set(records.split) else "test_gt_boxes"
    records = records[records.split == split]
    wrong = pd.DataFrame(
        [
            (fault["frame"], *label, number, fault["kind"])
            for number, fault in enumerate(faults)
            for label in fault["labels"]
        ],
        columns=[*KEYS, "fault", "kind"],
    )
    judged = labels_with_p_values(records[records.error.notna()]).drop(columns="kind")
    labels = records[KEYS].merge(judged, how="left").merge(wrong, how="left")
    listed = pd.read_csv(folder / "labels_to_check.csv")[KEYS].assign(listed=True)
    labels = labels.merge(listed, how="left").fillna({"listed": False})
    right = labels[labels.kind.isna()]
    limit = right.p_value.fillna(1.0).quantile(FALSE_FLAGS)
    labels["first"] = labels.p_value <= limit
    found = labels.groupby(["kind", "fault"])[["listed", "first"]].any().groupby("kind")
    rows = [
        (kind, len(each), int(each.listed.sum()), int(each["first"].sum())) for kind, each in found
    ]
    right = labels[labels.kind.isna()]
    rows.append(("right labels", len(right), int(right.listed.sum()), int(right["first"].sum())))
    names = ["kind", "number", "in labels_to_check.csv", f"at {FALSE_FLAGS:.0%} of right labels"]
    return pd.DataFrame(rows, columns=names)


def write_faulty_copy(source: Path, target: Path, count: int, rng: Generator) -> list[Fault]:
    """Copy a project of DeepLabCut with `count` faults in its labels, and return these."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    project = open_project(target)
    labels = load_labels(project)
    kinds = ["swap", "shift", "exchange"] if len(project.individuals) > 1 else ["swap", "shift"]
    draw = {"swap": swaps, "shift": shifts, "exchange": exchanges}
    found: list[Fault] = []
    free = set(range(len(labels)))
    for number, kind in enumerate(kinds):
        share = len(range(number, count, len(kinds)))
        candidates = [pair for pair in draw[kind](project, labels) if pair[0][0] in free]
        for index in rng.permutation(len(candidates)):
            if not share:
                break
            places = candidates[index]
            frame = places[0][0]
            if frame in free and spoil(labels, places, rng):
                free.remove(frame)
                share -= 1
                names = tuple((project.individuals[i], project.bodyparts[k]) for _, i, k in places)
                found.append(Fault(kind, labels.names[frame], names))
        if share:
            sys.exit(f"{source}: has too few frames for {share} more faults of the kind {kind}.")
    write_labels(project, labels)
    return found


def shifts(project: Project, labels: Labels) -> Iterator[tuple[Place, ...]]:
    """Yield every label."""
    for frame, animal, bodypart in np.argwhere(np.isfinite(labels.keypoints[..., 0])).tolist():
        yield ((frame, animal, bodypart),)


def swaps(project: Project, labels: Labels) -> Iterator[tuple[Place, ...]]:
    """Yield a left and a right bodypart of each animal."""
    names = project.bodyparts
    for left, name in enumerate(names):
        others = {name.replace(a, b) for a, b in SIDES if a in name} - {name}
        for right in (names.index(other) for other in others if other in names):
            distance = np.linalg.norm(
                labels.keypoints[:, :, left] - labels.keypoints[:, :, right], axis=-1
            )
            for frame, animal in np.argwhere(distance >= LEAST).tolist():
                yield (frame, animal, left), (frame, animal, right)


def exchanges(project: Project, labels: Labels) -> Iterator[tuple[Place, ...]]:
    """Yield a bodypart of two animals."""
    animals = len(project.individuals)
    for one in range(animals):
        for two in range(one + 1, animals):
            distance = np.linalg.norm(labels.keypoints[:, one] - labels.keypoints[:, two], axis=-1)
            for frame, bodypart in np.argwhere(distance >= LEAST).tolist():
                yield (frame, one, bodypart), (frame, two, bodypart)


def spoil(labels: Labels, places: tuple[Place, ...], rng: Generator) -> bool:
    """Exchange two labels, or move one; False where there is no room for that."""
    points = labels.keypoints
    if len(places) == 2:
        one, two = places
        points[one], points[two] = points[two].copy(), points[one].copy()
        return True
    angle = rng.uniform(0, 2 * np.pi)
    moved = points[places[0]] + SHIFT * np.array([np.cos(angle), np.sin(angle)])
    # Within what is labelled in some frame, and so within the images.
    reach = points.reshape(-1, 2)
    inside = (moved >= np.nanmin(reach, axis=0)) & (moved <= np.nanmax(reach, axis=0))
    if inside.all():
        points[places[0]] = moved
    return bool(inside.all())


def write_labels(project: Project, labels: Labels) -> None:
    """Replace the coordinates in the label tables of a project."""
    row = {name: frame for frame, name in enumerate(labels.names)}
    for path in project.root.glob(f"{LABELED_DATA}/*/{LABELS}*.h5"):
        table = read_table(path)
        for line, index in enumerate(table.index):
            frame = row[frame_name(index, path.parent.name)]
            for column, (*_, name, bodypart, axis) in enumerate(table.columns):
                several = project.multianimal
                animal = project.individuals.index(name) if several else 0
                point = labels.keypoints[frame, animal, project.bodyparts.index(bodypart)]
                table.iloc[line, column] = point["xy".index(axis)]
        table.to_hdf(path, key=LABEL_TABLE, mode="w")
        table.to_csv(path.with_suffix(".csv"))


if __name__ == "__main__":
    run()
