"""Poses come back in the pixels of the original image, and the model as it was."""

import cv2
import numpy as np
import pytest
import torch

import dlcexp
from dlcexp.data.augmentation import build_pipeline
from dlcexp.data.cache import ImageCache
from dlcexp.data.dataset import PoseDataset
from dlcexp.evaluation.model_poses import images_at_once, predict_frames, predict_heads
from dlcexp.project import Labels

# Width and height of the frames, and the centre of the white block in each.
# Far from the right and lower edge, because padding mirrors.
FRAMES = [((120, 80), (30, 20)), ((120, 80), (90, 45)), ((60, 80), (10, 33)), ((120, 80), (61, 41))]


class BrightestPixel(torch.nn.Module):
    """A `PoseModel` that finds one animal of two keypoints at the brightest pixel."""

    def __init__(self):
        super().__init__()
        self.frozen = torch.nn.BatchNorm2d(3).eval()
        self.seen = []

    def forward(self, images):
        assert not self.training
        assert not torch.is_grad_enabled()
        self.seen.append(tuple(images.shape))
        return {"bodypart": {"heatmap": images.mean(dim=1)}}

    def predict(self, outputs):
        heatmap = outputs["bodypart"]["heatmap"]
        poses = torch.full((len(heatmap), 2, 2, 3), -1.0)
        for pose, pixels in zip(poses, heatmap, strict=True):
            y, x = (pixels > 0.8 * pixels.max()).nonzero().float().mean(dim=0)
            pose[0] = torch.tensor([float(x), float(y), 0.9])
        return {"bodypart": {"poses": poses}, "unique_bodypart": {"poses": poses[:, :1, :1]}}


@pytest.fixture
def dataset(tmp_path):
    def make(menu):
        paths = []
        for number, ((width, height), (x, y)) in enumerate(FRAMES):
            image = np.zeros((height, width, 3), np.uint8)
            image[y - 4 : y + 5, x - 4 : x + 5] = 255
            paths.append(tmp_path / f"img{number}.png")
            cv2.imwrite(str(paths[-1]), image)
        labels = Labels(
            names=tuple(path.name for path in paths),
            images=tuple(paths),
            folders=("video",) * len(paths),
            keypoints=np.full((len(paths), 2, 2, 2), np.nan),
            unique=np.full((len(paths), 0, 2), np.nan),
        )
        pipeline = build_pipeline(menu, bodyparts=("a", "b"), training=False)
        return PoseDataset(
            labels,
            range(len(paths)),
            pipeline,
            with_center_keypoints=False,
            seed=0,
            cache=ImageCache(2**24),
        )

    return make


MENUS = {
    "as they are": {},
    "resized and padded": {"resize": {"width": 90, "height": 90, "keep_ratio": True}},
    "padded to a divisor": {"auto_padding": {"pad_width_divisor": 32, "pad_height_divisor": 32}},
}


@pytest.mark.parametrize("menu", MENUS)
def test_poses_are_in_pixels_of_the_original_image(dataset, menu):
    poses = predict_frames(BrightestPixel(), dataset(MENUS[menu]), "cpu")
    assert poses.shape == (4, 2, 2, 3)
    assert poses.dtype == np.float32
    assert poses[:, 0, 0, :2] == pytest.approx(np.array([at for _, at in FRAMES]), abs=0.7)


def test_individuals_that_were_not_found_are_nan(dataset):
    poses = predict_frames(BrightestPixel(), dataset({}), "cpu")
    assert np.isnan(poses[:, 1]).all()
    assert poses[:, 0, :, 2] == pytest.approx(0.9)


def test_batches_hold_consecutive_frames_of_one_size_and_change_nothing(dataset):
    model = BrightestPixel()
    batched = predict_frames(model, dataset({}), "cpu", batch_size=8)
    assert model.seen == [(2, 3, 80, 120), (1, 3, 80, 60), (1, 3, 80, 120)]
    np.testing.assert_array_equal(batched, predict_frames(model, dataset({}), "cpu"))


SMALL = [
    "model/backbone=timm",
    "model.backbone={model_name: test_resnet.r160_in1k, feature_level: 1, freeze_bn_stats: false}",
    "weights=random",
]


@pytest.mark.parametrize(
    ("project", "head"),
    [("mouse_project", "heatmap"), ("pair_project", "dekr"), ("pair_project", "paf")],
)
def test_frames_are_evaluated_in_batches_where_that_is_faster(
    dataset, project, head, request, monkeypatch
):
    root = request.getfixturevalue(project)
    torch.manual_seed(0)
    model = dlcexp.build(dlcexp.compose(f"project={root}", f"model={head}", *SMALL).model)
    for layer in model.heads.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.normal_(layer.weight, std=0.02)
    frames = dataset({"resize": {"width": 96, "height": 64, "keep_ratio": False}})
    one_by_one = predict_heads(model, frames, "cpu")["bodypart"]
    sizes = []
    model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    monkeypatch.setattr("dlcexp.evaluation.model_poses.images_at_once", lambda *_: 3)
    together = predict_heads(model, frames, "cpu")["bodypart"]
    assert sizes == [3, 1]
    assert np.isfinite(one_by_one).any()
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("device", "size", "images"),
    [
        ("cpu", (64, 64), 1),
        ("cuda", (64, 64), 64),
        ("cuda:1", (480, 640), 13),
        ("mps", (3000, 4000), 1),
    ],
)
def test_how_many_images_a_network_takes_at_once(device, size, images):
    assert images_at_once(device, size[0] * size[1]) == images


def test_each_module_gets_its_own_mode_back_also_after_an_error(dataset):
    model = BrightestPixel().train()
    model.frozen.eval()
    predict_frames(model, dataset({}), "cpu")
    assert (model.training, model.frozen.training) == (True, False)
    model.predict = None
    with pytest.raises(TypeError):
        predict_frames(model, dataset({}), "cpu")
    assert (model.training, model.frozen.training) == (True, False)


def test_every_head_is_returned(dataset):
    heads = predict_heads(BrightestPixel(), dataset({}), "cpu")
    assert {name: poses.shape for name, poses in heads.items()} == {
        "bodypart": (4, 2, 2, 3),
        "unique_bodypart": (4, 1, 1, 3),
    }


class TwoNeighbours(BrightestPixel):
    """Finds a second animal 8 px to the right of the first, and tells left (1) from right (0)."""

    def predict(self, outputs):
        poses = super().predict(outputs)["bodypart"]["poses"]
        poses[:, 1] = poses[:, 0]
        poses[:, 1, :, 0] += 8
        x = torch.arange(outputs["bodypart"]["heatmap"].shape[2])
        middle = poses[:, 0, :1, 0] + 4
        left = (x < middle).float()[:, None].expand(outputs["bodypart"]["heatmap"].shape)
        identity = torch.stack([1 - left, left], dim=-1)
        return {"bodypart": {"poses": poses}, "identity": {"heatmap": identity}}


def test_an_animal_is_in_the_place_of_its_individual(dataset):
    heads = predict_heads(TwoNeighbours(), dataset({}), "cpu")
    assert list(heads) == ["bodypart"]
    left = np.array([at for _, at in FRAMES])
    assert heads["bodypart"][:, 1, 0, :2] == pytest.approx(left, abs=0.7)
    assert heads["bodypart"][:, 0, 0, :2] == pytest.approx(left + np.array([8, 0]), abs=0.7)
