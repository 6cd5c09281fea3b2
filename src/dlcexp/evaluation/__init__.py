"""Scores of predicted poses (RMSE, PCK, OKS mAP and mAR), tables and figures of them."""
