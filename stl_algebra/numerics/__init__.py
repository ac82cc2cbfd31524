"""Numerics that stand on their own: dynamic least squares, sketches, Gauss-Newton, CP decompositions.

The only part of `stl_algebra` that imports torch; `import stl_algebra` does not load it.
"""
