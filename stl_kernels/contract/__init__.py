"""What an op's arguments are and which of them are right: shapes, dtypes, tiles; nothing is computed here."""
