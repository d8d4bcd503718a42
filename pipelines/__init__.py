"""What runs, in packages named after the stages of the work."""
