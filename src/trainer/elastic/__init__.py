"""A training on several nodes: who takes part, how a round of torchrun begins and ends, and who is noticed to hang."""
