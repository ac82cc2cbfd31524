"""Scoring, refining and searching bilinear algorithms as approximate matrix multiplication."""
