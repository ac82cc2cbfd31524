"""Converted models in folders: written, resumed, and read, with or without transformers."""
