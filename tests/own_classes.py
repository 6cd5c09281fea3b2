"""A package of a user's own: a trivial subclass `My...` of every class that a model is made of."""

from dlcexp import models
from dlcexp.models import backbones, criterions, detectors, heads, necks, predictors, targets

PACKAGES = (models, backbones, necks, heads, targets, criterions, predictors, detectors)
# Those that are only subclassed: what all backbones, heads and so on share.
BASES = (
    backbones.Backbone,
    heads.Head,
    targets.TargetGenerator,
    criterions.Criterion,
    predictors.Predictor,
    detectors.Detector,
)

PARENTS: list[type] = [
    parent
    for package in PACKAGES
    for parent in (getattr(package, name) for name in package.__all__)
    if isinstance(parent, type) and parent not in BASES
]

for each in PARENTS:
    name = f"My{each.__name__}"
    globals()[name] = type(name, (each,), {"__module__": __name__})
