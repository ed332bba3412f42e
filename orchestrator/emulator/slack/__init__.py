"""A Slack workspace on this machine: Web API, interactivity and a page to look at and press buttons on.

It shares no code with the service it stands in for, so a wrong belief there cannot hide here.
"""
