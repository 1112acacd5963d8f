"""What is stored, what would be deleted when and why, and what a change of the retention would delete."""
