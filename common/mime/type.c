#include "mime/type.h"

#include "base/utf8.h"

struct row {
    const char *key, *type;
};

static const struct row by_extension[] = {
    {"7z", "application/x-7z-compressed"},
    {"asc", "text/plain"},
    {"avif", "image/avif"},
    {"bmp", "image/bmp"},
    {"bz2", "application/x-bzip2"},
    {"c", "text/x-c"},
    {"conf", "text/plain"},
    {"css", "text/css"},
    {"csv", "text/csv"},
    {"deb", "application/vnd.debian.binary-package"},
    {"diff", "text/x-diff"},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"h", "text/x-c"},
    {"heic", "image/heic"},
    {"htm", "text/html"},
    {"html", "text/html"},
    {"ics", "text/calendar"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript"},
    {"json", "application/json"},
    {"log", "text/plain"},
    {"md", "text/markdown"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"odp", "application/vnd.oasis.opendocument.presentation"},
    {"ods", "application/vnd.oasis.opendocument.spreadsheet"},
    {"odt", "application/vnd.oasis.opendocument.text"},
    {"ogg", "audio/ogg"},
    {"patch", "text/x-diff"},
    {"pdf", "application/pdf"},
    {"pem", "application/x-pem-file"},
    {"png", "image/png"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"ps", "application/postscript"},
    {"py", "text/x-python"},
    {"rtf", "application/rtf"},
    {"sh", "application/x-sh"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"tsv", "text/tab-separated-values"},
    {"txt", "text/plain"},
    {"vcf", "text/vcard"},
    {"wav", "audio/x-wav"},
    {"webm", "video/webm"},
    {"webp", "image/webp"},
    {"xls", "application/vnd.ms-excel"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"xml", "application/xml"},
    {"xz", "application/x-xz"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

/* In front of the file. */
static const struct row by_start[] = {
    {"%PDF-", "application/pdf"},
    {"\x89PNG\r\n", "image/png"},
    {"\xff\xd8\xff", "image/jpeg"},
    {"GIF8", "image/gif"},
    {"PK\x03\x04", "application/zip"},
    {"\x1f\x8b", "application/gzip"},
    {"<!DOCTYPE html", "text/html"},
    {"<!doctype html", "text/html"},
    {"<html", "text/html"},
    {"<?xml", "application/xml"},
    {"\xfd"
     "7zXZ",
     "application/x-xz"},
    {"BEGIN:VCALENDAR", "text/calendar"},
    {"BEGIN:VCARD", "text/vcard"},
};

/* Well-formed UTF-8 (cut at the end perhaps) without controls. */
static bool is_text(struct slice s) {
    bool is_cut = s.n >= TYPE_LOOK_MAX;

    s = slice_first(s, TYPE_LOOK_MAX);
    while (s.n > 0) {
        size_t n = utf8_char(s, NULL);
        unsigned char c = (unsigned char)s.p[0];

        if (n == 0) return is_cut && s.n < 4;
        if (c == 127 || (c < 32 && c != '\n' && c != '\r' && c != '\t' && c != '\f')) return false;
        s = slice_from(s, n);
    }
    return true;
}

struct slice type_of(struct slice name, struct slice bytes) {
    size_t dot = slice_rchr(name, '.');
    struct slice extension = dot == SLICE_NONE ? S("") : slice_from(name, dot + 1);

    for (size_t i = 0; i < sizeof by_extension / sizeof *by_extension; i++)
        if (slice_ieq(extension, slice_str(by_extension[i].key)))
            return slice_str(by_extension[i].type);
    for (size_t i = 0; i < sizeof by_start / sizeof *by_start; i++)
        if (slice_starts(bytes, slice_str(by_start[i].key))) return slice_str(by_start[i].type);
    return is_text(bytes) ? S("text/plain") : S("application/octet-stream");
}
