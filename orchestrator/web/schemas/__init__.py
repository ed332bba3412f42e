"""What the API takes and gives, story by story, and how rows become answers.

Requests refuse fields they do not know. Answers have no defaults: every field is always there.
What only one door tells, and briefly, stands beside that door.
"""
