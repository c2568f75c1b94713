"""What is shown on the terminal: the console for results, and the live view of a run."""
