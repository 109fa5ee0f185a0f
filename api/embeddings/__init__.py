"""`/v1/embeddings`: vectors for any client of OpenAI's API, by the model of the search or another of the settings."""
