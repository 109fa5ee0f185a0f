"""What was asked of language models, and what that cost."""
