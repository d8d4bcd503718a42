"""Images that show the same, equal or changed."""
