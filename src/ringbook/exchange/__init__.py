"""What the API and the dashboard share on the way from a request to its answer."""
