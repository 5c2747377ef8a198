/* One line per applet, sorted by name. */
APPLET(account)
APPLET(config)
APPLET(deliver)
APPLET(queue_run)
APPLET(sendmail)
APPLET(serve)
