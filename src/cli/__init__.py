"""The command line: one module a group of commands, and what is printed before and after a run."""
