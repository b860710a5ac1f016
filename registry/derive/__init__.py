"""From a held variant to another of the same version: made, proven, kept with its lineage."""

from onnxzoo.registry.derive.frame import Derived, Made, Proof, Recipe, derive, keep, make

__all__ = ["Derived", "Made", "Proof", "Recipe", "derive", "keep", "make"]
