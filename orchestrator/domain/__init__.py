"""What is true and what follows from what happened. Standard library only, no I/O."""
