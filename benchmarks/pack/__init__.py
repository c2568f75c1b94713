"""What packing and embedding an object cost: beside the first release, peers, and the model alone."""
