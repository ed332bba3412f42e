"""The durable loop, ours beside LangGraph and DBOS: `python -m bench.loop`.

start → step → wait for an event → step → wait for a person → step → done, every transition on disk
before the next one begins. Steps are trivial functions; the event and the person's answer are handed
in as soon as the run waits for them. Each engine runs in a process of its own over a fresh database.
"""
