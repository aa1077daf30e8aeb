"""The key service's database: secrets, what decides about them, and the log of every decision."""
