-- Requests for vectors that nobody waits for have a topic of their own (decision 0058): an edit overtakes an import.
insert into app.emitters
select 'adriatic_flows', unnest('{embeddings.requested.bulk,embeddings.requested.bulk.dlq}'::text[]);
