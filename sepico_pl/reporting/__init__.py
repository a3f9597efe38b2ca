"""What is read out of run folders: reports, comparisons, and embedding spaces."""
