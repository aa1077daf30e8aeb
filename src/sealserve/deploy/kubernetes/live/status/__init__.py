"""How a service stands in its cluster, pod by pod."""
