"""The model owner's tools: fetch, convert, synthesise and inspect, without TensorFlow."""
