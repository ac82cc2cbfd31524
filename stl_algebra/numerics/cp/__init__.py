"""CP decompositions by Levenberg-Marquardt with the structured Gram matrix."""
