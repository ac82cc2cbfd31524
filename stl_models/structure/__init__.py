"""What a model is made of and what its layers do to each other, asked of the model itself."""
