"""What the tests start and wait for: processes, brokers, a whole stack."""
