"""How the target is labelled: teacher, votes, batch-norm statistics."""
