"""The Python interface as the design writes it: names, shapes, and nothing heavy at import."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import dlcexp
from dlcexp.errors import UserError


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> "dlcexp.Run":
    """A real run of one epoch on the demo project."""
    cfg = dlcexp.compose("project=demo", *tiny, "logger=csv")
    return dlcexp.train(cfg, tmp_path_factory.mktemp("api") / "run")


def test_importing_dlcexp_imports_nothing_heavy():
    heavy = [
        "torch",
        "timm",
        "albumentations",
        "lightning",
        "wandb",
        "pandas",
        "numpy",
        "cv2",
        "matplotlib",
        "hydra",
    ]
    code = f"import dlcexp, dlcexp.cli, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_gives_maps_targets_losses_and_poses(tiny):
    cfg = dlcexp.compose("project=demo", *tiny)
    n, k = cfg.metadata.num_individuals, cfg.metadata.num_bodyparts
    torch.manual_seed(0)
    model = dlcexp.build(cfg.model)
    images = torch.randn(2, 3, 64, 96)
    keypoints = torch.rand(2, n, k + 1, 3) * 64
    keypoints[..., 2] = 2
    labels = {
        "keypoints": keypoints,
        "area": torch.full((2, n), 900.0),
        "individual_ids": torch.arange(n).repeat(2, 1),
        "keypoints_unique": torch.zeros(2, 0, 3),
    }
    outputs = model(images)
    assert outputs["bodypart"]["heatmap"].shape == (2, k + 1, 8, 12)
    assert outputs["bodypart"]["offset"].shape == (2, 2 * k, 8, 12)
    targets = model.targets(outputs, labels)
    assert targets["bodypart"]["heatmap"]["target"].shape == (2, k + 1, 8, 12)
    losses = model.losses(outputs, targets)
    assert losses["total_loss"].ndim == 0
    losses["total_loss"].backward()
    with torch.inference_mode():
        poses = model.eval().predict(model(images))["bodypart"]["poses"]
    assert poses.shape == (2, n, k, 3)


@pytest.mark.slow
def test_a_run_leaves_everything_that_the_readme_lists(run):
    for name in [
        "config.yaml",
        "overrides.yaml",
        "pytorch_config.yaml",
        "environment.json",
        "status.json",
        "metrics.json",
        "metrics.csv",
        "log.txt",
        "snapshots/last.ckpt",
        "snapshots/snapshot-001.pt",
        "snapshots/snapshot-best-001.pt",
        "figures/best-1.png",
        "figures/worst-1.png",
        "figures/errors.png",
    ]:
        assert (run.folder / name).is_file(), name
    exported = yaml.safe_load((run.folder / "pytorch_config.yaml").read_text())
    assert exported["metadata"]["bodyparts"] == list(run.cfg.metadata.bodyparts)
    assert exported["train_settings"]["epochs"] == 1
    assert exported == yaml.safe_load(dlcexp.export(run.cfg))


@pytest.mark.slow
def test_evaluating_again_gives_the_numbers_of_the_run(run):
    evaluation = dlcexp.evaluate(run)
    for split, scores in evaluation.metrics.items():
        for name, value in scores.items():
            recorded = run.metrics[f"{split}.{name}"]
            np.testing.assert_allclose(value, np.nan if recorded is None else recorded, rtol=1e-5)
        errors = evaluation.records[evaluation.records.split == split].error
        np.testing.assert_allclose(errors.mean(), scores["rmse"])


@pytest.mark.slow
def test_the_folder_of_a_run_is_taken_as_the_run(run):
    from dlcexp.data.draw_demo import demo_project

    opened = dlcexp.Run.open(str(run.folder))
    assert (opened.folder, opened.cfg) == (run.folder, run.cfg)
    assert dlcexp.Run.open(run) is run
    found, expected = (dlcexp.evaluate(each).poses["test"] for each in (str(run.folder), run))
    np.testing.assert_array_equal(found, expected)
    image = sorted(demo_project().glob("labeled-data/*/*.png"))[0]
    ((path, poses),) = dlcexp.predict(run.folder, image).items()
    np.testing.assert_array_equal(poses, dlcexp.predict(run, image)[path])


def test_a_folder_that_is_not_of_a_run_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    for use in (dlcexp.Run.open, dlcexp.evaluate, lambda path: dlcexp.predict(path, tmp_path)):
        with pytest.raises(UserError, match=r"no config\.yaml"):
            use(tmp_path)


@pytest.mark.slow
def test_another_split_and_threshold_are_overrides_of_the_run(run):
    evaluation = dlcexp.evaluate(run, overrides=["split=kfold", "split.fold=1"])
    assert set(evaluation.names["test"]) != set(dlcexp.evaluate(run).names["test"])
    assert len(evaluation.names["test"]) == 17


@pytest.mark.slow
def test_predicting_image_files_gives_what_evaluating_them_gave(run):
    from dlcexp.data.draw_demo import demo_project

    evaluation = dlcexp.evaluate(run)
    names = evaluation.names["test"]
    images = [Path(demo_project(), name) for name in names]
    poses = dlcexp.predict(run, images)
    assert list(poses) == list(map(str, images))
    np.testing.assert_allclose(np.stack(list(poses.values())), evaluation.poses["test"], rtol=1e-5)
