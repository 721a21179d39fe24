"""What the words in result tables mean: every column, and every value that a column of few words can have."""
