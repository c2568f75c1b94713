"""CLIP models through open_clip: names, checkpoints, preprocessing, embeddings, and the embedded demo model."""
