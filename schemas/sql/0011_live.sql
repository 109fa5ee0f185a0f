-- A live read says how far it is. Where change capture has stopped a table (R11), its changes are missing, however far the
-- rest is: the API must be able to know.

grant select on ops.cdc_tables to adriatic_api;
