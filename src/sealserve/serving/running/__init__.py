"""How a request reaches the engine: at once, through a thread, in a batch."""
