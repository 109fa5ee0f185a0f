-- The nearest sources of each, among those of its kind, and why: kept by the flow `related`, a function of mv.search_state,
-- mv.chunks, mv.embeddings and app.adr_links. Of ADRs alone, so far (dataflows/related.py: KIND). docs/decisions/0022 says how, and
-- why so.

-- What the flow compares, in a form that it can read for a whole tenant at once: about 15 kB a source. Of the version that is
-- findable by words and by meaning; the old one's stay until the new one is complete. A deleted source has no row.
create table mv.related_features (
    tenant_id uuid not null,
    kind      text not null,
    source_id uuid not null,
    version   bigint not null,                    -- of which these are
    -- Numbers that look like chance: compressing them would cost time and save nothing.
    words     bytea storage external not null,     -- per word: 8 bytes hash, in ascending order; then 2 bytes weight each
    terms     text[] not null,                     -- the words of these hashes, as the text writes them
    passages  bytea storage external not null,     -- vectors of the first 64 passages, 2 bytes a component
    dimension integer not null,                    -- components of a vector
    primary key (tenant_id, kind, source_id)
);
call app.protect('mv.related_features');
-- Which version is in the view says how far the view is; the rest is of no use to a reader.
grant select (tenant_id, kind, source_id, version) on mv.related_features to adriatic_api;
grant insert, update, delete on mv.related_features to adriatic_flows;

-- At most ten rows a source; nearest first by score, then related_id.
create table mv.related (
    tenant_id  uuid not null,
    kind       text not null,                      -- of both
    source_id  uuid not null,
    related_id uuid not null,
    score      double precision not null,          -- 0.6 words + 0.4 meaning, and 1 more for a link
    words      double precision not null,          -- 0 to 1: how many words they share, by weight
    terms      text[] not null,                    -- the shared words that weigh most, as source_id writes them
    meaning    double precision not null,          -- mean cosine of the five nearest pairs of passages
    links_to   text[] not null,                    -- kinds of the links from source_id to related_id
    links_from text[] not null,                    -- and back
    primary key (tenant_id, kind, source_id, related_id)
);
create index related_back on mv.related (tenant_id, kind, related_id);
call app.protect('mv.related');
grant select on mv.related to adriatic_api;
grant insert, update, delete on mv.related to adriatic_flows;
