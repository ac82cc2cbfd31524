"""Which arm of the plan the next trial belongs to; one strategy a file."""
