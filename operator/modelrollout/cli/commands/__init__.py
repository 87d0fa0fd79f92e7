"""One module per command, with a function of the command's name. `app` has the table; nothing else imports them."""
