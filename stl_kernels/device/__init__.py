"""What a device reaches and which choices were measured fastest on it; kept on disk."""
