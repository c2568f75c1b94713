"""landmarks: L texts per category and their CLIP embeddings.

    landmarks/<category>.jsonl    one {"category", "text"} a line
    landmarks/<category>.npy      (L, F) float32, rows L2-normalised

The texts come from the source's grammar, a file or a language model; a category's
texts from a model are kept as they are accepted, so that nothing paid for is lost.
"""
