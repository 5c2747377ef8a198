/* The engines that transcripts can be played against, sorted. */
WIRE(pop3_client)
WIRE(pop3_server)
WIRE(smtp_client)
WIRE(smtp_server)
