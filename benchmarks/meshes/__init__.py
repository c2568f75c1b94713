"""Reading of meshes beside trimesh, format by format."""
