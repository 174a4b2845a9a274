"""What is written about a run: its summary and page, protocols, evidence that is read, the ceiling."""
