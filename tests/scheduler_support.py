"""One node of each scheduler of torch, with arguments that change the learning rate soon."""

from typing import Any

OURS = "dlcexp.training.schedulers"
SCHEDULERS: dict[str, dict[str, Any]] = {
    "LambdaLR": {"lr_lambda": {"_target_": f"{OURS}.ExponentialDecay", "gamma": 0.5}},
    "MultiplicativeLR": {"lr_lambda": {"_target_": f"{OURS}.ConstantFactor", "factor": 0.5}},
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [2, 4]},
    "ConstantLR": {},
    "LinearLR": {},
    "ExponentialLR": {"gamma": 0.5},
    "SequentialLR": {},
    "PolynomialLR": {"total_iters": 6},
    "CosineAnnealingLR": {"T_max": 6},
    "ChainedScheduler": {},
    "ReduceLROnPlateau": {"patience": 0},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 2, "cycle_momentum": False},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "OneCycleLR": {"max_lr": 1.0, "total_steps": 7},
}


def node(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"torch.optim.lr_scheduler.{name}", "_partial_": True, **arguments}


def nested() -> list[dict[str, Any]]:
    return [node("LinearLR", total_iters=3), node("ExponentialLR", gamma=0.5)]


SCHEDULERS["SequentialLR"] = {"schedulers": nested(), "milestones": [3]}
SCHEDULERS["ChainedScheduler"] = {"schedulers": nested()}
