"""What an operator deploys: TLS material and the configuration of the edge."""
