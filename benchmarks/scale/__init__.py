"""What stages hold and take at the size of a large data set, which is made up: keys, rows and shards, not meshes."""
