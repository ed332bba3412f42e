"""Measurements, printed as ratios taken side by side within one run."""
