"""Training: the point-cloud encoders, the losses, the data order, the loop and its restart."""
