"""The engines behind `sealserve.serving.engine`: what computes."""
