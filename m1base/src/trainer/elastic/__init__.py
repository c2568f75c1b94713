"""Training on several nodes: membership, rounds of torchrun, and detection of hangs."""
