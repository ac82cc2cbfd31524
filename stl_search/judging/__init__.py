"""Errors of algorithms, and of what one would use otherwise, on matrices."""
