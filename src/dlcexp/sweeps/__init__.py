"""Sweeps: what varies, the folder that remembers what is done, and the jobs that are launched."""
