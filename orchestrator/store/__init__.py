"""The rows: tables, transactions, and the way from rows to values and back."""
