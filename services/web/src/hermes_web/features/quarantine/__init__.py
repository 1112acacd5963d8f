"""What could not be taken as an instance."""
