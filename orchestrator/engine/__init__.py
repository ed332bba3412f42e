"""The loop: intake → step, worker → perform, reconcile."""
