"""Benchmarks of the numerics: `python -m stl_algebra.benchmarks NAME` writes results/numerics/NAME.json."""
