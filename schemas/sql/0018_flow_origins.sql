-- What a flow knows of the log that it reads, beside how far it has read: enough to tell that the log is another one. All of it is
-- null for a partition that was last read by a release that did not write it.
alter table ops.consumer_offsets
    add column topic_id         text,      -- Kafka's id of the topic; another one after it was made anew; '': the broker has none
    add column partitions       integer,   -- how many the topic had when this one was first read: so many share the keys
    add column last_offset      bigint,    -- the newest record that was read …
    add column last_fingerprint text,      -- … and what it was: key, value, headers and time, hashed
    add constraint last_record check ((last_offset is null) = (last_fingerprint is null));
