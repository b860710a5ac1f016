"""Faults put in on purpose: kills, errors of the disk, power cuts, crowds; see `PARTS`."""
