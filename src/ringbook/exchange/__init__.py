"""What the API and the dashboard share on the way from a request to its response.

run.py         the steps from a request to its response, and the table of routes
request.py     a row of the table, and one request as a handler gets it
turns.py       decides whose request is worked on next
threads.py     the threads that do the work
bodies.py      reads bodies within bounds
visit.py       what every request has: headers, the log line, the metrics
statuses.py    the HTTP statuses of refusals
assets.py      static files of pages, with addresses that browsers may cache
leftovers.py   drops the rest of a body when a request was answered before its body was read
"""
