-- Searchable text of every kind of source. Maintained by the flows `index` and `embed`, a function of the version tables alone.

-- What a source is: something whose versions are searched. Its key is (tenant_id, kind, source_id), and its versions grow with
-- every change; what they are numbered by is its own affair (a count, a time in milliseconds). `schemas/sources.py` lists the
-- kinds, and says how a record of each is read. This view is where they are read in SQL: a new kind has its branch here.
create view app.source_versions with (security_invoker = true) as
select tenant_id, 'adr' as kind, adr_id as source_id, version::bigint, change = 'delete' as deleted, title, status,
       effective_at, body
  from app.adr_versions
union all
select tenant_id, 'document', document_id, version, kind = 'delete', title, '', effective_at, body
  from app.document_versions;
grant select on app.source_versions to adriatic_api, adriatic_flows;

-- Which version each arm of the search shows. An old version stays findable by meaning until every vector of the new one
-- is there. The row outlives its source (deleted), so that a replay of an old version cannot bring it back.
create table mv.search_state (
    tenant_id       uuid not null,
    kind            text not null,                 -- adr | document | … (schemas/sources.py)
    source_id       uuid not null,
    words_version   bigint not null,
    meaning_version bigint,                        -- null: not yet findable by meaning
    deleted         boolean not null default false,
    title           text not null,
    status          text not null,                 -- empty: its kind has none
    effective_at    timestamptz not null,          -- of words_version
    recorded_at     timestamptz not null,          -- commit time of words_version: freshness is measured from it
    words_at        timestamptz not null,          -- when it became findable by words
    meaning_at      timestamptz,                   -- when words_version became findable by meaning
    chunks          integer not null,              -- of words_version
    length          integer not null,              -- of all of them: BM25 measures a source by it
    primary key (tenant_id, kind, source_id)
);
-- What waits for its vectors: looked at every two seconds, and nearly always empty.
create index search_state_waiting on mv.search_state (tenant_id, recorded_at)
    where not deleted and meaning_version is distinct from words_version;
call app.protect('mv.search_state');
grant select on mv.search_state to adriatic_api, adriatic_search;
grant insert, update, delete on mv.search_state to adriatic_flows;

-- What a chunk is found by: its own text, the headings above it, and, for the first chunk of a text, its title. The title
-- is counted once for the source and not once a chunk. Labels A and B tell title and headings from the text.
create function mv.chunk_tsv(ordinal integer, title text, heading_path text, body text) returns tsvector
    language sql immutable parallel safe strict
    return setweight(to_tsvector('pg_catalog.english', case when ordinal = 0 then title else '' end), 'A')
        || setweight(to_tsvector('pg_catalog.english', heading_path), 'B')
        || to_tsvector('pg_catalog.english', body);

-- How long a chunk is to BM25: its words, stop words left out, each occurrence counted.
create function mv.chunk_length(tsv tsvector) returns integer
    language sql immutable parallel safe strict
    return (select coalesce(sum(cardinality(positions)), 0) from unnest(tsv));

create table mv.chunks (
    tenant_id    uuid not null,
    kind         text not null,
    source_id    uuid not null,
    version      bigint not null,
    ordinal      integer not null,                 -- order in the text, from 0
    heading_path text not null,                    -- 'Context > Constraints'
    body         text not null,                    -- as in the source, byte for byte
    char_start   integer not null,
    char_end     integer not null,
    text_hash    bytea not null,                   -- sha-256 of the text as embedded (title and heading path included)
    -- In the row itself as long as it fits: ranking reads it of every match, the body only of what is shown.
    tsv          tsvector storage main not null,   -- mv.chunk_tsv(ordinal, title, heading_path, body)
    length       integer not null,                 -- mv.chunk_length(tsv)
    primary key (tenant_id, kind, source_id, version, ordinal)
);
create index chunks_tsv on mv.chunks using gin (tsv);
-- The search by meaning walks all chunks of a tenant for their vectors: from this index alone.
create index chunks_hash on mv.chunks (tenant_id, text_hash) include (kind, source_id, version, ordinal);
call app.protect('mv.chunks');
-- The tenant's own rows for the API alone: 0010_search_functions.sql says why its role sees all of them, and what binds it.
alter policy tenant on mv.chunks to adriatic_api;
create policy search on mv.chunks for select to adriatic_search using (true);
comment on policy search on mv.chunks is 'Only through the functions of 0010_search_functions.sql, which name the tenant.';
grant select on mv.chunks to adriatic_api, adriatic_search;
grant insert, update, delete on mv.chunks to adriatic_flows;

-- An embedding space is a provider, model, revision, dimension and prefix rule. Spaces are never mixed in one query.
create table mv.embedding_spaces (
    space      text primary key,
    provider   text not null,
    model      text not null,
    revision   text not null,
    dimension  integer not null check (dimension > 0),
    active     boolean not null default false,
    created_at timestamptz not null default now()
);
create unique index embedding_spaces_active on mv.embedding_spaces (active) where active;
grant select on mv.embedding_spaces to adriatic_api, adriatic_search;
grant select, insert, update on mv.embedding_spaces to adriatic_flows;

-- Content-addressed: the same text of a tenant is embedded once, whatever version or source it is in. Never shared between
-- tenants: a hit would tell one that another has the same text.
create table mv.embeddings (
    tenant_id  uuid not null,
    space      text not null references mv.embedding_spaces,
    text_hash  bytea not null,
    embedding  vector not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, space, text_hash)
);
call app.protect('mv.embeddings');
grant select on mv.embeddings to adriatic_api, adriatic_search;
grant insert, update, delete on mv.embeddings to adriatic_flows;

-- What content addressing saves, counted in the transactions that index and embed. "Known" passages had a text that the
-- tenant had already, in whatever version or source. Avoided on edits = edit_chunks_known / edit_chunks.
create table mv.embedding_stats (
    tenant_id          uuid primary key,
    firsts             bigint not null default 0,  -- first versions of sources
    first_chunks       bigint not null default 0,
    first_chunks_known bigint not null default 0,
    edits              bigint not null default 0,  -- later versions
    edit_chunks        bigint not null default 0,
    edit_chunks_known  bigint not null default 0,
    embedded           bigint not null default 0,  -- texts that went through the model
    reused             bigint not null default 0   -- texts that were requested, and had a vector by then
);
call app.protect('mv.embedding_stats');
grant select on mv.embedding_stats to adriatic_api;
grant insert, update, delete on mv.embedding_stats to adriatic_flows;
