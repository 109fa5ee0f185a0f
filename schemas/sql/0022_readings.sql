-- What a reader made of a text is kept apart from the text: a better reader reads it again, and the version stays the same.

alter table app.adrs add column label text;        -- how its log counts it, where that is no number alone: 51.1, 12a, 2025-1
create index adrs_label on app.adrs (tenant_id, log_id, label) where label is not null;
grant update (number, label, title, status) on app.adrs to adriatic_flows;
grant update (next_number) on app.logs to adriatic_flows;
grant insert, update (target_id), delete on app.adr_links to adriatic_flows;

-- Title and status of a version are what was read of its text, unless somebody gave others. A version is never written again but
-- for these two, and then whole: what an update leaves out would be missing from its topic.
alter table app.adr_versions
    add column reading integer not null default 0, -- of this version's text, counted from 1; 0: before readings were counted
    add column title_given boolean not null default false,
    add column status_given boolean not null default false;
alter table app.adr_versions alter column reading set default 1;
grant update (title, status, body, original, reading) on app.adr_versions to adriatic_flows;

-- The newest reading of each ADR: by which reader, and what it found that is no column of the ADR's own.
create table app.adr_readings (
    tenant_id uuid not null,
    adr_id    uuid not null,
    reader    integer not null check (reader > 0), -- the reader's version
    number    integer,                             -- which the text and its path claim; the log may have given it to another
    label     text not null default '',
    oddities  jsonb not null default '[]',         -- [{code, line, text}]
    read_at   timestamptz not null default clock_timestamp(),
    primary key (tenant_id, adr_id),
    foreign key (tenant_id, adr_id) references app.adrs deferrable initially deferred
);
create index adr_readings_reader on app.adr_readings (tenant_id, reader);
call app.protect('app.adr_readings');
grant select, insert, update on app.adr_readings to adriatic_api, adriatic_flows;

-- Words of a tenant's own that its records say: of a status, of a field, of a link.
create table app.reader_words (
    tenant_id  uuid not null references app.tenants,
    subject    text not null check (subject in ('status', 'field', 'link')),
    name       text not null check (length(name) between 1 and 40),
    phrase     text not null check (length(phrase) between 1 and 80),
    created_at timestamptz not null default now(),
    primary key (tenant_id, subject, name, phrase)
);
call app.protect('app.reader_words');
grant select, insert, delete on app.reader_words to adriatic_api;

alter table app.jobs add column result jsonb not null default '{}';  -- what it found, in the kind's own words

alter table mv.search_state add column reading integer not null default 0;  -- of words_version: a later one of it is news

call ops.bound_rows();
