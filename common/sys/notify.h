/* notify: what systemd wants to hear of a service (sd_notify(3)). */
#ifndef SYS_NOTIFY_H
#define SYS_NOTIFY_H

/* Send `state` ("READY=1") to $NOTIFY_SOCKET; nothing when there is none. Never fails. */
void notify_state(const char *state);

#endif
