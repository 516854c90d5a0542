"""A local web page over runs and studies, live while they run, read-only.

    catalogue   which runs and studies it shows, and what their addresses are
    watch       one run as its log grows: folded from an event number on, never read twice
    answers     the JSON of every view, made from the records of `engine.views`
    feed        server-sent events: what has moved, to every browser that is there
    access      who may ask: the token, the cookie, Host, Origin, the security policy
    app, serve  the routes; the socket and the server
    static      the page: one style sheet and plain modules of JavaScript, no build step

May import everything below it; only `cli` imports it.  Nothing here writes to a run.
"""
