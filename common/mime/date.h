/* date: dates in messages (RFC 5322 3.3 and 4.3) and of IMAP (RFC 3501 date-time).
 *
 * Pure functions, any thread. What no reader could understand is refused; what software really
 * writes is read: no weekday or a wrong one, one-digit days and hours, two- and three-digit years,
 * zone names, no zone (UTC), comments, missing seconds, asctime order.
 */
#ifndef MIME_DATE_H
#define MIME_DATE_H

#include "base/moment.h"

enum { DATE_IMAP_MAX = sizeof "23-Nov-2026 01:02:03 +0000", DATE_INPUT_MAX = 256 };

/* Parse a Date field value (folds allowed, at most DATE_INPUT_MAX bytes are looked at). `*offset`,
 * when not NULL, gets minutes east of UTC. Years 1900-9999; obsolete zones as RFC 5322 4.3, unknown
 * ones count as UTC. False: not a date, outputs untouched. */
bool date_parse(struct slice in, wall_t *t, int *offset);

/* Parse the text inside an IMAP date-time: "dd-Mon-yyyy hh:mm:ss +zzzz", the day may be " d".
 * Exactly that form (RFC 3501 9). */
bool date_parse_imap(struct slice in, wall_t *t, int *offset);
/* Format an INTERNALDATE, without quotes, with a NUL; returns a slice of `out`. */
struct slice date_format_imap(wall_t t, int offset, char out[DATE_IMAP_MAX]);
/* Parse an IMAP search date "d-Mon-yyyy" (quotes taken off before): midnight UTC of that day. */
bool date_parse_imap_day(struct slice in, wall_t *t);

#endif
