"""A process and its surroundings: signals, parent, environment, threads, retries, termination message."""
