"""Background work: periodic jobs, sending pushes and mails, and writing counters to the database.

jobs.py       the periodic jobs, until told to stop
courier.py    claims due pushes, sends them and records the receipts
senders.py    which sender takes a push, with the application's credentials
mailer.py     sends waiting mails
counters.py   writes what this process counts into the database
"""
