"""The modules that take a dense layer's place, and how they are built from what a fit gives."""
