"""Status pages: what a provider says about itself, as statements about regions and pools.

In: the body of a feed, and the names that the file maps. Out: for each region of the file one statement of
the kind ``status`` and one of the kind ``maintenance``. A status page's word alone never takes a pool down,
it only degrades it (docs/concepts.md): pages speak 4 to 22 minutes after the fact, and confirm what clients
saw.

- **Only the feed's own word for an outage makes a claim ``down``.** Every other state that is not well, also
  one that nobody has seen yet, makes it ``degraded``. Information is no claim.
- **An entry counts where its names are mapped.** A region's name leads to regions, a product's name to pools
  or to the whole region. An entry that names no region counts where ``unplaced`` says. What is mapped to
  nothing is reported as unmatched.
- **A part that can't be read retracts nothing.** What can be read beside it is stated, but a region without
  claims gets no empty statement from such a body, because the claim may be in the unread part.
- **A maintenance window is a claim of its own**, from its start to its end, so that room is made for it
  beforehand. It is not stated as planned capacity as well: one loss would count twice.

    status_feed   the settings of every feed
    placing       from a feed's entries to statements about regions and pools
    parts         from untrusted JSON to text, lists and instants
    rss           from untrusted XML to items
    google, azure, oracle, statusio, statuspage     one feed each, from body to entries

Tests: tests/unit/controller/collect/feeds.
"""
