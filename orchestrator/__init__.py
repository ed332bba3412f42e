"""Long-running Gemini agents that act with a person's consent."""
