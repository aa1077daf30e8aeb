"""What the server says of itself: metrics, a log of requests, spans, the stages of a start."""
