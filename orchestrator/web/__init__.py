"""The doors: the HTTP API, the webhook and Slack endpoints, probes. They parse, ask the intake, answer."""
