"""Sets: what is being learned, and what was."""
