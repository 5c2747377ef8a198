/* One line per applet, sorted by name. */
APPLET(account)
APPLET(config)
APPLET(deliver)
APPLET(mx_lookup)
APPLET(queue_run)
APPLET(sendmail)
APPLET(serve)
APPLET(smtp_probe)
