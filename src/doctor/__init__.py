"""Whether a machine can do what captionless does, and what to do where it cannot: `captionless doctor`.

A check is a function from `Subject`, what is looked at, to a `Finding`. Each tries the thing itself (renders a picture,
embeds a text, writes an object, asks the API server to take an Alignment) in a process of its own with a time limit, so
that a driver that crashes and a server that never answers are findings too, and two libraries that cannot stand beside
each other are not brought together.
"""
