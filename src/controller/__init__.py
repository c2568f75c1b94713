"""The operator: an Alignment becomes the plan's stages as Jobs, and its status tells how they go."""
