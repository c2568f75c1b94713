"""Random sequences: a tiny run whose spec, meshes and processes change and die, checked against runs from scratch."""
