"""placeholder"""
from dlcexp.models.predictors.base import Predictor


class PartAffinityFieldPredictor(Predictor):
    def __init__(self, num_animals=0,num_multibodyparts=0,num_uniquebodyparts=0,nms_radius=0,sigma=0,locref_stdev=0,min_affinity=0,graph=0,edges_to_keep=0,apply_sigmoid=0,clip_scores=0):
        super().__init__()
    def forward(self, stride, outputs):
        return {"poses": outputs["heatmap"].new_zeros(1, 2, 13, 3)}
