"""What the person has made, kept on disk."""
