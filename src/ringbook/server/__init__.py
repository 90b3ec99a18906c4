"""The serving process: sockets, signals and children, and the way of a request to the API and the dashboard.

process.py       starts, supervises and ends the processes that serve
front.py         takes every request first and last: health, metrics, documentation, then the API or the dashboard
http.py          accepts connections, sweeps them once in a while, ends them in order
connections.py   limits connections by client address, and decides which one goes when file handles run short
protocol.py      one HTTP connection, with bounds on heads, on unread answers and on what follows a refusal
tls.py           loads the certificate anew while running
reached.py       counts and logs limits that are reached here
metrics_sum.py   the text of /metrics, for one process or as a sum over several
checks.py        what `ringbook check` looks at
machine.py       files, TLS, disk and clock of the machine that we run on
welcome.py       the text of the first start
memory.py        makes the C library give memory back
"""
