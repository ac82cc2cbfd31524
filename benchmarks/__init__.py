"""Benchmarks of the numerics: `python -m benchmarks NAME` writes results/numerics/NAME.json."""
