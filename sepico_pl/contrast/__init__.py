"""Pixel contrast with the semantic concepts of classes; plain torch."""
