"""What is read out of run folders: reports, comparisons, and the embedding space of a checkpoint."""
