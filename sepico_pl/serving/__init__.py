"""Trained networks at work: predictions, exports, and a page to try them on."""
