"""Which layer is made cheaper how far: configuration, regions, allocation, the plan and its costs."""
