"""What the layers of a model read on calibration text, and how much the model minds their errors."""
