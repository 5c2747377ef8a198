/* One line per applet, sorted by name. */
APPLET(config)
APPLET(serve)
