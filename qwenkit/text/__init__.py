"""What may be done to a text: probe it."""
