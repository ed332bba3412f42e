"""Everything that speaks to Gemini or hears from it: its JSON, its client, its signed webhooks."""
