"""The layer and what it is made of: options, factors, row groups, functional form, calibration."""
