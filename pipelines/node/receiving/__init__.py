"""What comes: by C-STORE and from watched folders, into the queue."""
