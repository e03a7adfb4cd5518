"""Files: whole or absent, locked, kept once."""
