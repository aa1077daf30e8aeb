"""Why a service in a cluster does not serve: from what is seen to findings; nothing is asked."""
