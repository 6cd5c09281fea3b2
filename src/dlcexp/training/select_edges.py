"""The edges of part-affinity fields, chosen once the network is trained."""

import copy
import logging

import torch
from omegaconf import DictConfig

from dlcexp.config.build import find_class
from dlcexp.data.loading import PoseData
from dlcexp.evaluation.edge_selection import Selection, select_edges
from dlcexp.models.predictors import PartAffinityFieldPredictor
from dlcexp.runs.folder import RunFolder
from dlcexp.runs.run import Run
from dlcexp.runs.stages import POSE

logger = logging.getLogger(__name__)


def settle_edges(
    cfg: DictConfig, folder: RunFolder, data: PoseData, device: torch.device
) -> Selection | None:
    """Choose the edges for the best snapshot, and write them into the tree of the run.

    Nothing is done for one animal, for a graph that is a tree or whose edges were chosen by the
    user, or with `train.select_edges=false`.

    Returns:
        What was chosen, if anything was.
    """
    if not _is_to_be_settled(cfg):
        return None
    model = Run(folder.path, cfg).model().to(device)
    bar = bool(cfg.trainer.progress_bar)
    chosen = select_edges(model, data, cfg.evaluation, device, progress=bar)
    graph = cfg.model.heads.bodypart.predictor.graph
    if chosen is None:
        logger.info("all %d edges are kept: no training frame has two labelled animals", len(graph))
        return None
    if max(chosen.scores.values()) <= 0:
        logger.info(
            "all %d edges are kept: with any choice, the animals assembled in the training "
            "frames are not near any label (mAP 0)",
            len(graph),
        )
        return None
    settled = copy.deepcopy(cfg)
    settled.model.heads.bodypart.predictor.edges_to_keep = chosen.edges
    folder.write_tree(settled)
    _log(settled, chosen)
    return chosen


def _is_to_be_settled(cfg: DictConfig) -> bool:
    head = cfg.model.heads.bodypart
    predictor = find_class(head.predictor["_target_"], "model.heads.bodypart.predictor")
    if not issubclass(predictor, PartAffinityFieldPredictor):
        return False
    graph, kept = head.predictor.graph, head.predictor.edges_to_keep
    chosen_already = list(kept) != list(range(len(graph)))
    is_tree = len(graph) < cfg.metadata.num_bodyparts
    several = cfg.metadata.num_individuals > 1
    trained = POSE in cfg.train.stages
    return bool(cfg.train.select_edges and trained and several and not (is_tree or chosen_already))


def _log(cfg: DictConfig, chosen: Selection) -> None:
    bodyparts = cfg.metadata.bodyparts
    predictor = cfg.model.heads.bodypart.predictor
    names = [
        f"{bodyparts[first]}-{bodyparts[second]} ({chosen.separability[edge]:.2f})"
        for edge in chosen.edges
        for first, second in [predictor.graph[edge]]
    ]
    tried = ", ".join(f"{number}: {score:.1f}" for number, score in chosen.scores.items())
    logger.info(
        "%d of %d edges assemble the training frames best (number: mAP; %s); with the probability "
        "that they link keypoints of one animal more strongly than of two: %s",
        len(chosen.edges),
        len(predictor.graph),
        tried,
        ", ".join(names),
    )
