"""Net types by the names that DeepLabCut lists, and those of which there is no record."""

import yaml
from omegaconf import OmegaConf

from dlcexp.composition import compose
from dlcexp.config.options import options
from dlcexp.deeplabcut.export import export_config

# Net types for the 14 keypoints of CrowdPose, which DeepLabCut gives crops of another size than the
# models are for (288x384).
PEOPLE = ("ctd_coam_w48_human", "ctd_prenet_rtmpose_x_human")

OTHERWISE = {
    "metadata.pose_config_path",
    "data.gen_sampling.keypoint_sigmas",
    "data.gen_sampling.keypoints_symmetry",
    *(
        f"data.{section}.top_down_crop.{side}"
        for section in ("inference", "train")
        for side in ("width", "height")
    ),
}


def test_every_net_type_of_deeplabcut_is_one_here(deeplabcut, pair_project, tmp_path):
    said = deeplabcut("name_net_types", pair_project / "config.yaml", tmp_path, *PEOPLE)
    assert set(said["net_types"]) == set(options("net_type"))
    for name in PEOPLE:
        theirs = OmegaConf.to_container(OmegaConf.load(tmp_path / f"{name}.yaml"))
        cfg = compose(f"project={pair_project}", f"net_type={name}", "conditions=1")
        ours = yaml.safe_load(export_config(cfg))
        assert set(differences(ours, theirs)) == OTHERWISE


def differences(ours, theirs, path=""):
    """Keys in which two configurations differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {**ours, **theirs}:
            yield from differences(ours.get(key), theirs.get(key), f"{path}.{key}".lstrip("."))
    elif ours != theirs:
        yield path
