"""The front of the serving process: what happens to a connection before its request reaches the application.

http.py          the server: accepts connections, sweeps them once in a while, ends them in order
connections.py   how many connections there are, by client address, and which one goes first when handles run short
protocol.py      one HTTP connection, with bounds on heads, on unread answers and on what follows a refusal
tls.py           the certificate, loaded anew while running
reached.py       counts and logs limits that are reached here
"""
