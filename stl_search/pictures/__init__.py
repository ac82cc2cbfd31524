"""Pictures of groups and algorithms: layouts, drawings, one style."""
