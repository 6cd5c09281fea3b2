"""Hydra's way to the sweepers and the launcher of dlcexp; what they do is in `dlcexp.sweeps`."""
