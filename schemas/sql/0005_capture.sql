-- What change capture reads. The publication exists before the slot does (R5).
create publication adriatic for table
    app.tenants, app.logs, app.adrs, app.adr_versions, app.adr_links, app.adr_tags, mv.search_state;
