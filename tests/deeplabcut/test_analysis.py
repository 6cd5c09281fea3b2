"""Files of predictions, by hand and read back."""

from pathlib import Path

import numpy as np
import pytest

from dlcexp.deeplabcut.analysis import Analysis, scorer_name
from dlcexp.deeplabcut.predictions import read_predictions


def test_the_scorer_is_named_as_deeplabcut_names_it() -> None:
    best, periodic = Path("snapshot-best-042.pt"), Path("snapshot-100.pt")
    detector = Path("snapshot-detector-best-010.pt")
    assert (
        scorer_name("resnet_50", "openfieldOct30", 1, best)
        == "DLC_Resnet50_openfieldOct30shuffle1_snapshot_best-42"
    )
    assert (
        scorer_name("dekr_w18", "fliesNov23", 3, periodic, detector)
        == "DLC_DekrW18_fliesNov23shuffle3_detector_best-10_snapshot_100"
    )


@pytest.mark.parametrize("multianimal", [True, False])
def test_a_table_is_read_back(multianimal: bool, tmp_path: Path) -> None:
    animals = ("a", "b") if multianimal else ("individual_1",)
    poses = np.random.default_rng(0).uniform(0, 9, (4, len(animals), 2, 3)).astype(np.float32)
    poses[1, 0] = np.nan
    unique = np.arange(12, dtype=np.float32).reshape(4, 1, 3)
    analysis = Analysis(
        "DLC_x", range(4), ("nose", "tail"), ("door",), animals, multianimal, poses, unique
    )
    written = analysis.write(tmp_path / "videoDLC_x", csv=True, meta={})
    kinds = {path.name.removeprefix("videoDLC_x") for path in written}
    assert kinds >= {".h5", ".csv", "_meta.pickle", "_full.pickle"}
    assert ("_assemblies.pickle" in kinds) == multianimal
    if multianimal:
        for suffix in (".h5", ".csv"):
            read = read_predictions(tmp_path / f"videoDLC_x{suffix}")
            assert read.bodyparts == ("nose", "tail")
            for number in range(4):
                np.testing.assert_allclose(read.poses[number], poses[number], rtol=1e-6)
    first = analysis.table().iloc[0].to_dict()
    key = ("DLC_x", "a", "nose") if multianimal else ("DLC_x", "nose")
    assert first[(*key, "likelihood")] == poses[0, 0, 0, 2]
    door = ("DLC_x", "single", "door") if multianimal else ("DLC_x", "door")
    assert [first[(*door, each)] for each in ("x", "y", "likelihood")] == [0, 1, 2]
