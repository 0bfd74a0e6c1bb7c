"""How assets are made: what is out of date, locks, processes, failures and recovery."""
