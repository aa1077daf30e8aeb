"""The TensorFlow Serving surface over one data plane: models, engines, gRPC and REST."""
