"""Whole models: their activations, conversion to Strassen-Tile layers, and training."""
