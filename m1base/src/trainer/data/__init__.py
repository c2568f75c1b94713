"""The batches of a training: which objects share one, how they are read, and what becomes of a cloud on the way."""
