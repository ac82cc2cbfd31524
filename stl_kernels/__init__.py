"""Strassen-Tile layers for PyTorch: ops, backends, layers, benchmarks."""
