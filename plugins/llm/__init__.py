"""What language models answer, and how it is read."""
