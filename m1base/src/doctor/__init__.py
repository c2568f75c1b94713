"""`captionless doctor`: checks whether a machine can run captionless, and suggests what to do if not.

A check is a function from a `Subject`, what to check, to a `Finding`. Each tries the real operation (renders a picture,
embeds a text, writes an object, sends an Alignment to the API server as a dry run) in a separate process with a time
limit, so that a crashing driver and a server that never answers are findings as well, and conflicting libraries are
never loaded together.
"""
