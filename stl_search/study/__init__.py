"""The study: plan, storage, queue and workers of a search that may be stopped and continued."""
