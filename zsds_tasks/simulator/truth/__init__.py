"""What was planted, as tables, and the reference catalogues of the same sky."""
