"""HTTP requests to other servers, and mails.

requests.py   sends one request, with the address checked, pinned and timed
mail.py       hands one mail to the SMTP server
mail_check.py checks the SMTP server without a mail
networks.py   which addresses belong to the public internet, and which ports may be asked
"""
