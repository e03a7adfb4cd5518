"""What distilled sets are for: ranking architectures, learning class after class, and how small a set will do."""
