"""The contrastive losses, and the weights of their negatives (eq. 5 and 6)."""
