"""From a held variant to another of the same version: made, proven, kept with its lineage."""

from onnxzoo.registry.derive.frame import Derived, Proof, Recipe, derive, make

__all__ = ["Derived", "Proof", "Recipe", "derive", "make"]
