"""The serving process: sockets, signals, child processes, HTTP, and routing to the API and the dashboard.

process.py       starts and ends `ringbook serve`
opening.py       opens the database with its key, and makes the files of a new one
sockets.py       listening sockets
signals.py       handlers of signals
children.py      several serving processes: starts, replaces and ends them
front.py         the first handler of every request: health, metrics, documentation, then the API or the dashboard
start_page.py    the page that a browser sees at / and at unknown paths
guide.py         the documents, at /guide
reset_page.py    the page on which a user sets a new password
http.py          accepts connections, checks them regularly, stops in order
connections.py   limits connections per client address, and chooses one to close when file handles run short
handshakes.py    divides TLS handshakes by address
protocol.py      one HTTP connection, with limits on its head, on unread answers and on what follows a refusal
tls.py           reloads the certificate while the server runs
reached.py       counts and logs limits of connections that were reached
metrics_sum/     the text of /metrics, for one process or as a sum over several
checks.py        the checks of `ringbook check`
machine.py       checks of the machine: files, TLS, disk and clock
welcome.py       what is printed on a terminal at the start
interpreter.py   lets threads take turns more often
memory.py        makes the C library return free memory
"""
