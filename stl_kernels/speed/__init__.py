"""Predicting and measuring how long a layer takes beside the dense product."""
