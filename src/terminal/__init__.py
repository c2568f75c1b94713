"""What a person sees on a terminal while something runs: the console that results are printed on, and the live view."""
