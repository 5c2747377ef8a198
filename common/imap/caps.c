#include "imap/caps.h"

int imap_capability_rfc(struct slice word) {
    static const struct {
        struct slice name;
        int rfc;
    } known[] = {
        {S_INIT("IMAP4rev1"), 3501},     {S_INIT("IMAP4rev2"), 9051},
        {S_INIT("ACL"), 4314},           {S_INIT("APPENDLIMIT"), 7889},
        {S_INIT("BINARY"), 3516},        {S_INIT("CATENATE"), 4469},
        {S_INIT("CHILDREN"), 3348},      {S_INIT("CONDSTORE"), 7162},
        {S_INIT("ENABLE"), 5161},        {S_INIT("ESEARCH"), 4731},
        {S_INIT("ESORT"), 5267},         {S_INIT("ID"), 2971},
        {S_INIT("IDLE"), 2177},          {S_INIT("INPROGRESS"), 9585},
        {S_INIT("JMAPACCESS"), 9698},
        {S_INIT("LIST-EXTENDED"), 5258}, {S_INIT("LIST-METADATA"), 9590},
        {S_INIT("LIST-STATUS"), 5819},   {S_INIT("LITERAL+"), 7888},
        {S_INIT("LITERAL-"), 7888},      {S_INIT("LOGIN-REFERRALS"), 2221},
        {S_INIT("LOGINDISABLED"), 3501}, {S_INIT("MESSAGELIMIT"), 9738},
        {S_INIT("METADATA"), 5464},      {S_INIT("METADATA-SERVER"), 5464},
        {S_INIT("MOVE"), 6851},          {S_INIT("MULTIAPPEND"), 3502},
        {S_INIT("MULTISEARCH"), 7377},   {S_INIT("NAMESPACE"), 2342},
        {S_INIT("NOTIFY"), 5465},        {S_INIT("OBJECTID"), 8474},
        {S_INIT("PARTIAL"), 9394},       {S_INIT("PREVIEW"), 8970},
        {S_INIT("QRESYNC"), 7162},       {S_INIT("QUOTA"), 9208},
        {S_INIT("REPLACE"), 8508},       {S_INIT("SASL-IR"), 4959},
        {S_INIT("SAVEDATE"), 8514},      {S_INIT("SEARCHRES"), 5182},
        {S_INIT("SNIPPET"), 8970},       {S_INIT("SORT"), 5256},
        {S_INIT("SPECIAL-USE"), 6154},   {S_INIT("STARTTLS"), 3501},
        {S_INIT("UIDBATCHES"), 10022},   {S_INIT("UIDONLY"), 9586},
        {S_INIT("UIDPLUS"), 4315},       {S_INIT("UNAUTHENTICATE"), 8437},
        {S_INIT("UNSELECT"), 3691},      {S_INIT("URLAUTH"), 4467},
        {S_INIT("WITHIN"), 5032},
    };
    static const struct {
        struct slice prefix;
        int rfc;
    } families[] = {
        {S_INIT("AUTH="), 3501},         {S_INIT("COMPRESS="), 4978},  {S_INIT("THREAD="), 5256},
        {S_INIT("STATUS="), 8438},       {S_INIT("QUOTA="), 9208},     {S_INIT("RIGHTS="), 4314},
        {S_INIT("UTF8="), 6855},         {S_INIT("CONTEXT="), 5267},   {S_INIT("SORT="), 5957},
        {S_INIT("APPENDLIMIT="), 7889},  {S_INIT("SEARCH="), 6203},    {S_INIT("I18NLEVEL="), 5255},
        {S_INIT("MESSAGELIMIT="), 9738}, {S_INIT("SAVELIMIT="), 9738}, {S_INIT("URLAUTH="), 5524},
        {S_INIT("IMAPSIEVE="), 6785},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (slice_ieq(word, known[i].name)) return known[i].rfc;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (slice_istarts(word, families[i].prefix)) return families[i].rfc;
    return 0;
}
