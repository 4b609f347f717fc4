"""What a file is, where its bytes are, and what its rows say."""
