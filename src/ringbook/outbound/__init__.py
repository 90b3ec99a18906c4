"""HTTP requests to other servers.

requests.py   sends one request, with the address checked, pinned and timed
networks.py   which addresses belong to the public internet, and which ports may be asked
"""
