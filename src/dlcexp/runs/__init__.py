"""The folder of a run: written while it trains, read back afterwards."""
