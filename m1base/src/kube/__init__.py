"""Kubernetes as both the controller and the client see it: the API client, the CRD, the Job builder, observed state."""
