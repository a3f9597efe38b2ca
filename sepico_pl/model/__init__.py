"""Encoder, decode heads and projection head."""
