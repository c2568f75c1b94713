"""Readers of mesh files, one a format, each by its specification: bytes in, a `Reading` out."""
