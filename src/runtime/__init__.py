"""A process and its surroundings: signals, its parent, its environment, its threads, and how it tells its end."""
