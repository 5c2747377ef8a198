#include "imap/thread.h"

#include <stdlib.h>

/* A place in the tree: a message, or one that only others speak of. */
struct node {
    struct imap_thread_item *item; /* NULL: a dummy */
    struct slice id;
    struct node *parent, *child, *next; /* the first child, the next sibling */
    struct node *prev;                  /* the one before, while links are still made */
    struct node *in_bucket;
    wall_t date;
    uint32_t order; /* sequence number of it, of a dummy that of its first child */
};

struct tree {
    struct arena *arena;
    struct node **buckets;
    size_t n_buckets;
    bool bad;
};

/* --- nodes -------------------------------------------------------------------------------------
 */

static uint64_t hash(struct slice s) {
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < s.n; i++) h = (h ^ (unsigned char)s.p[i]) * 1099511628211u;
    return h ^ h >> 29;
}

static struct node *new_node(struct tree *t, struct slice id) {
    struct node *n = arena_new(t->arena, sizeof *n);

    if (!n) t->bad = true;
    else n->id = id;
    return n;
}

static struct node *node_of(struct tree *t, struct slice id) {
    struct node **bucket = &t->buckets[hash(id) & (t->n_buckets - 1)], *n;

    for (n = *bucket; n && !slice_eq(n->id, id);) n = n->in_bucket;
    if (n || !(n = new_node(t, id))) return n;
    n->in_bucket = *bucket;
    *bucket = n;
    return n;
}

static void unlink_node(struct node *n) {
    if (!n->parent) return;
    if (n->prev) n->prev->next = n->next;
    else n->parent->child = n->next;
    if (n->next) n->next->prev = n->prev;
    n->parent = n->next = n->prev = NULL;
}

/* Would a link make a circle, or a branch that is too deep? */
static bool is_above(const struct node *child, const struct node *parent) {
    unsigned depth = 0;

    for (; parent; parent = parent->parent)
        if (parent == child || ++depth > IMAP_THREAD_DEPTH_MAX) return true;
    return false;
}

static void link_node(struct node *parent, struct node *child) {
    child->parent = parent;
    child->prev = NULL;
    child->next = parent->child;
    if (child->next) child->next->prev = child;
    parent->child = child;
}

/* --- step 1 and 2: who answers whom ------------------------------------------------------------
 */

static void add_message(struct tree *t, struct imap_thread_item *item, struct node **all,
                        size_t *n_all) {
    struct slice rest = item->references, id;
    struct node *me = item->id.n ? node_of(t, item->id) : NULL, *before = NULL;

    /* Without an identifier, or with that of another message, it is one of its own. */
    if (!me || me->item) me = new_node(t, S(""));
    if (!me) return;
    me->item = item;
    me->date = item->date;
    all[(*n_all)++] = me;
    while (slice_word(&rest, &id)) {
        struct node *n = node_of(t, id);

        if (!n) return;
        if (before && !n->parent && n != before && !is_above(n, before)) link_node(before, n);
        before = n;
    }
    if (!before || before == me) {
        unlink_node(me);
        return;
    }
    if (me->parent == before) return;
    unlink_node(me);
    if (!is_above(me, before)) link_node(before, me);
}

/* --- walking without a stack -------------------------------------------------------------------
 */

/* Where a walk that sees children before their parent begins. */
static struct node *first_leaf(struct node *n) {
    while (n->child) n = n->child;
    return n;
}

/* --- step 3: dummies go ------------------------------------------------------------------------
 */

/* In the list `at`, of children of `parent` (NULL: of the roots), replace dummies by what is below
 * them. What is below was pruned already. */
static void prune_list(struct node **at, struct node *parent) {
    while (*at) {
        struct node *n = *at, *last;

        if (n->item) {
            at = &n->next;
            continue;
        }
        if (!n->child) {
            *at = n->next;
            continue;
        }
        /* A dummy at the top keeps several children together. */
        if (!parent && n->child->next) {
            at = &n->next;
            continue;
        }
        for (last = n->child; last->next; last = last->next) last->parent = parent;
        last->parent = parent;
        last->next = n->next;
        *at = n->child;
        at = &last->next; /* they are no dummies any more */
    }
}

static void prune(struct node *top) {
    struct node *n = first_leaf(top);

    /* Children of each node before the node itself; the list of a node is changed when all below it
     * is done, so the walk goes by what it has seen. */
    for (;;) {
        struct node *up = n->parent, *next = n->next;
        bool is_top = n == top;

        prune_list(&n->child, n);
        if (is_top) return;
        n = next ? first_leaf(next) : up;
    }
}

/* --- step 4 and 6: in the order of their dates -------------------------------------------------
 */

static bool is_before(const struct node *a, const struct node *b) {
    return a->date != b->date ? a->date < b->date : a->order <= b->order;
}

/* Merge sort of a list of siblings. */
static struct node *sort_list(struct node *list) {
    for (size_t width = 1;; width *= 2) {
        struct node *p = list, *tail = NULL;
        size_t merges = 0;

        list = NULL;
        while (p) {
            struct node *q = p;
            size_t p_n = 0, q_n = width;

            merges++;
            while (q && p_n < width) q = q->next, p_n++;
            while (p_n > 0 || (q_n > 0 && q)) {
                struct node *take;

                if (p_n == 0 || (q_n > 0 && q && !is_before(p, q))) take = q, q = q->next, q_n--;
                else take = p, p = p->next, p_n--;
                if (tail) tail->next = take;
                else list = take;
                tail = take;
            }
            p = q;
        }
        if (tail) tail->next = NULL;
        if (merges <= 1) return list;
    }
}

/* All lists below `top`, and the date of a dummy from its first child. */
static void sort_tree(struct node *top) {
    struct node *n = first_leaf(top);

    for (;;) {
        struct node *up = n->parent, *next = n->next;
        bool is_top = n == top;

        n->child = sort_list(n->child);
        if (n->item) {
            n->order = n->item->number;
        } else if (n->child) {
            n->date = n->child->date;
            n->order = n->child->order;
        }
        if (is_top) return;
        n = next ? first_leaf(next) : up;
    }
}

/* --- step 5: threads of one subject ------------------------------------------------------------
 */

static const struct imap_thread_item *subject_of(const struct node *n) {
    if (!n->item && n->child) n = n->child;
    return n->item;
}

static void adopt(struct node *parent, struct node *child) {
    child->parent = parent;
    child->next = parent->child;
    parent->child = child;
}

static void gather_by_subject(struct tree *t, struct node *top) {
    size_t size = 16, n = 0;
    struct node **table, *next, *kept = NULL;

    for (struct node *r = top->child; r; r = r->next) n++;
    while (size < 2 * n) size *= 2;
    table = arena_new(t->arena, size * sizeof(struct node *));
    if (!table) {
        t->bad = true;
        return;
    }
    /* The thread that stands for a subject: a dummy rather than a message, one that is no reply
     * rather than a reply. */
    for (struct node *r = top->child; r; r = r->next) {
        const struct imap_thread_item *item = subject_of(r);
        size_t i;

        if (!item || !item->base_subject.n) continue;
        for (i = hash(item->base_subject) & (size - 1);
             table[i] && !slice_eq(subject_of(table[i])->base_subject, item->base_subject);)
            i = (i + 1) & (size - 1);
        if (!table[i] || (!r->item && table[i]->item) ||
            (table[i]->item && subject_of(table[i])->is_reply && !item->is_reply))
            table[i] = r;
    }
    for (struct node *r = top->child; r; r = next) {
        const struct imap_thread_item *item = subject_of(r);
        struct node *other = NULL;

        next = r->next;
        if (item && item->base_subject.n) {
            size_t i = hash(item->base_subject) & (size - 1);

            while (table[i] && !slice_eq(subject_of(table[i])->base_subject, item->base_subject))
                i = (i + 1) & (size - 1);
            other = table[i];
        }
        if (!other || other == r) {
            r->next = kept;
            kept = r;
            continue;
        }
        if (!other->item && !r->item) {
            struct node *after;

            for (struct node *c = r->child; c; c = after) {
                after = c->next;
                adopt(other, c);
            }
        } else if (!other->item || (item->is_reply && !subject_of(other)->is_reply)) {
            adopt(other, r);
        } else {
            /* Both are replies, or none is: side by side below a dummy, which takes the place of
             * the other. */
            struct node *mine = new_node(t, S(""));

            if (!mine) return;
            *mine = *other;
            for (struct node *c = mine->child; c; c = c->next) c->parent = mine;
            *other = (struct node){.parent = top, .next = other->next};
            adopt(other, mine);
            adopt(other, r);
        }
    }
    top->child = kept;
    for (struct node *r = kept; r; r = r->next) r->parent = top;
}

/* --- telling -----------------------------------------------------------------------------------
 */

/* Each node below `top` once, from above, without recursion. */
static void put(const struct node *top, struct buf *out) {
    const struct node *n = top->child;

    while (n && n != top) {
        /* A thread, or one branch of several, is in parentheses; a single child follows its
         * parent. */
        bool is_branch = n->parent == top || n->parent->child->next;

        if (is_branch) buf_addc(out, '(');
        if (n->item) {
            if (out->n && out->p[out->n - 1] != '(') buf_addc(out, ' ');
            buf_addf(out, "%u", n->item->number);
        }
        if (n->child) {
            if (n->item && n->child->next) buf_addc(out, ' ');
            n = n->child;
            continue;
        }
        while (n != top) {
            bool was_branch = n->parent == top || n->parent->child->next;

            if (was_branch) buf_addc(out, ')');
            if (n->next) {
                n = n->next;
                break;
            }
            n = n->parent;
        }
    }
}

/* --- the two ways ------------------------------------------------------------------------------
 */

static bool by_references(struct imap_thread_item *v, size_t n, struct tree *t, struct buf *out) {
    struct node **all = arena_new(t->arena, (n + 1) * sizeof(struct node *)), top = {0};
    size_t n_all = 0, refs = 0;

    for (size_t i = 0; i < n; i++) refs += 1 + v[i].references.n / 40;
    for (t->n_buckets = 256; t->n_buckets < n + refs;) t->n_buckets *= 2;
    t->buckets = arena_new(t->arena, t->n_buckets * sizeof(struct node *));
    if (!all || !t->buckets) return false;
    for (size_t i = 0; i < n && !t->bad; i++) add_message(t, &v[i], all, &n_all);
    if (t->bad) return false;
    /* Step 2: what has no parent is a root; messages without identifier are in no bucket. */
    for (size_t b = 0; b < t->n_buckets; b++) {
        struct node *next;

        for (struct node *m = t->buckets[b]; m; m = next) {
            next = m->in_bucket;
            if (!m->parent) link_node(&top, m);
        }
    }
    for (size_t i = 0; i < n_all; i++)
        if (!all[i]->parent) link_node(&top, all[i]);
    for (struct node *r = top.child; r; r = r->next) prune(r);
    for (struct node *r = top.child; r; r = r->next) r->parent = NULL;
    prune_list(&top.child, NULL);
    for (struct node *r = top.child; r; r = r->next) r->parent = &top;
    sort_tree(&top);
    gather_by_subject(t, &top);
    if (t->bad) return false;
    sort_tree(&top);
    put(&top, out);
    return !out->bad;
}

static int by_subject(const void *a, const void *b) {
    const struct imap_thread_item *x = a, *y = b;
    int order = slice_cmp(x->base_subject, y->base_subject);

    if (order) return order;
    if (x->date != y->date) return x->date < y->date ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static bool by_ordered_subject(struct imap_thread_item *v, size_t n, struct tree *t,
                               struct buf *out) {
    struct node *nodes = arena_new(t->arena, (n + 1) * sizeof *nodes), top = {0}, *root = NULL;

    if (!nodes) return false;
    if (n > 1) qsort(v, n, sizeof *v, by_subject);
    for (size_t i = 0; i < n; i++) {
        nodes[i].item = &v[i];
        nodes[i].date = v[i].date;
        if (root && slice_eq(root->item->base_subject, v[i].base_subject)) {
            link_node(root, &nodes[i]);
        } else {
            root = &nodes[i];
            link_node(&top, root);
        }
    }
    sort_tree(&top);
    put(&top, out);
    return !out->bad;
}

bool imap_thread(enum imap_thread_way way, struct imap_thread_item *v, size_t n, struct arena *a,
                 struct buf *out) {
    struct tree t = {.arena = a};

    if (n == 0) return true;
    return way == IMAP_THREAD_REFERENCES ? by_references(v, n, &t, out)
                                         : by_ordered_subject(v, n, &t, out);
}
