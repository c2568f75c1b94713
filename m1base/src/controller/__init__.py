"""The operator: runs the stages of an Alignment's plan as Jobs and reports their progress in its status."""
