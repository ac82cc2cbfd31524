"""The matrices that algorithms are scored on: pairs, random ensembles, files, their tiles."""
