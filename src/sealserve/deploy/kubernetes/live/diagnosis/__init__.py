"""Why a service in a cluster does not serve, in a sentence each."""
