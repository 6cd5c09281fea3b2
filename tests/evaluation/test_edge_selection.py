"""Choosing edges: their separability, how graphs grow, and the one that is kept."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from dlcexp.evaluation.edge_selection import _growing, _probability_larger, select_edges
from dlcexp.models.predictors import PartAffinityFieldPredictor
from dlcexp.models.targets import (
    HeatmapGaussianGenerator,
    HeatmapPlateauGenerator,
    PartAffinityFieldGenerator,
)

STRIDE = 4
GRAPH = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
BLIND = [0, 4]  # edges whose fields are empty


def test_the_separability_is_the_area_under_the_curve():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 12, 40) / 10, rng.integers(0, 9, 70) / 10
    expected = mannwhitneyu(first, second).statistic / (len(first) * len(second))
    assert _probability_larger(first, second) == pytest.approx(expected)
    assert np.isnan(_probability_larger(first, second[:0]))


def test_graphs_grow_from_the_best_spanning_tree():
    separability = np.array([0.5, 0.9, 0.8, 0.7, np.nan, 0.95])
    graphs = _growing(np.array(GRAPH), separability, 4)
    # 2-3, 0-2, then 0-3 would close a circle, so 1-2; of the others the best comes first.
    assert graphs == [[5, 1, 3], [5, 1, 3, 2], [5, 1, 3, 2, 0], [5, 1, 3, 2, 0, 4]]


class Drawn(torch.nn.Module):
    """Maps drawn from the labels of each frame in turn, the fields of some edges empty."""

    def __init__(self, frames, animals):
        super().__init__()
        predictor = PartAffinityFieldPredictor(
            num_animals=animals,
            num_multibodyparts=4,
            num_uniquebodyparts=0,
            graph=GRAPH,
            edges_to_keep=list(range(len(GRAPH))),
            locref_stdev=7.2801,
            nms_radius=5,
            sigma=1.0,
            min_affinity=0.05,
            apply_sigmoid=False,
        )
        self.heads = {"bodypart": SimpleNamespace(predictor=predictor)}
        self.frames = iter(frames)

    def stride(self, _):
        return STRIDE

    def forward(self, images):
        maps = {"heatmap": torch.zeros(1, 4, images.shape[2] // STRIDE, images.shape[3] // STRIDE)}
        labels = {"keypoints": next(self.frames)["keypoints"][None]}
        bumps = HeatmapGaussianGenerator(num_heatmaps=4, pos_dist_thresh=9)(STRIDE, maps, labels)
        discs = HeatmapPlateauGenerator(num_heatmaps=4, pos_dist_thresh=9)(STRIDE, maps, labels)
        field = PartAffinityFieldGenerator(graph=GRAPH, width=12)(STRIDE, maps, labels)
        paf = field["paf"]["target"].unflatten(1, (len(GRAPH), 2))
        paf[:, BLIND] = 0
        drawn = {"heatmap": bumps["heatmap"]["target"], "locref": discs["locref"]["target"]}
        return {"bodypart": {**drawn, "paf": paf.flatten(1, 2)}}


def animals_in_frames(number, frames=5):
    """Labels of animals side by side, as `PoseData` gives them, and what it says of the project."""
    rng = np.random.default_rng(1)
    shape = np.array([[20, 20], [60, 24], [24, 90], [66, 100]])
    places = np.array([[0, 0], [90, 10], [180, 0]])[:number]
    points = shape + places[:, None] + rng.uniform(-6, 6, (frames, number, 4, 2))
    samples = [
        {
            "image": torch.zeros(3, 128, 288),
            "keypoints": torch.from_numpy(np.insert(frame, 2, 2.0, axis=-1)).float(),
            "scale": (1.0, 1.0),
            "offset": (0.0, 0.0),
        }
        for frame in points
    ]
    data = SimpleNamespace(
        frames=lambda _: samples,
        split=SimpleNamespace(train=tuple(range(frames))),
        labels=SimpleNamespace(keypoints=points.astype(float), unique=np.zeros((frames, 0, 2))),
        project=SimpleNamespace(
            bodyparts=("a", "b", "c", "d"), unique_bodyparts=(), multianimal=True
        ),
    )
    return samples, data


def test_edges_without_information_are_left_out(settings):
    samples, data = animals_in_frames(3)
    chosen = select_edges(Drawn(samples, 3), data, settings, "cpu")
    assert all(chosen.separability[BLIND] == 0.5)
    assert all(np.delete(chosen.separability, BLIND) > 0.9)
    assert len(chosen.edges) == 3  # a tree is enough, so it is kept
    assert not set(BLIND) & set(chosen.edges)
    assert chosen.scores[3] == pytest.approx(100)
    assert list(chosen.scores) == [3, 4, 5, 6]


def test_one_animal_in_each_frame_tells_nothing(settings):
    samples, data = animals_in_frames(1)
    assert select_edges(Drawn(samples, 1), data, settings, "cpu") is None
