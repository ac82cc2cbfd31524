"""One trial: a candidate, refined and pruned at the target dtype."""
