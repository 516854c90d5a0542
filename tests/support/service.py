"""A local HTTP server that answers as the public services do.

The answers were written by hand to the formats that the services document (the arXiv API user's
manual, the Semantic Scholar Academic Graph API, OpenAI's vector-store search, LiteLLM's search);
they were not recorded from the services, which the tests never ask.
"""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ARXIV = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <link href="http://arxiv.org/api/query?search_query%3D%26id_list%3D2405.21060" rel="self" \
type="application/atom+xml"/>
  <title type="html">ArXiv Query: search_query=&amp;id_list=2405.21060&amp;start=0</title>
  <id>http://arxiv.org/api/cHxbiOdZaP56ODnBPIenZhzg5f8</id>
  <updated>2026-11-20T00:00:00-05:00</updated>
  <opensearch:totalResults xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">1\
</opensearch:totalResults>
  <opensearch:startIndex xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">0\
</opensearch:startIndex>
  <opensearch:itemsPerPage xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">1\
</opensearch:itemsPerPage>
  <entry>
    <id>http://arxiv.org/abs/2405.21060v1</id>
    <updated>2024-05-31T17:50:01Z</updated>
    <published>2024-05-31T17:50:01Z</published>
    <title>Transformers are SSMs: Generalized Models and Efficient Algorithms
  Through Structured State Space Duality</title>
    <summary>  A short stand-in for the abstract: attention and state spaces
are two views of structured matrices.
</summary>
    <author>
      <name>Tri Dao</name>
    </author>
    <author>
      <name>Albert Gu</name>
    </author>
    <arxiv:comment xmlns:arxiv="http://arxiv.org/schemas/atom">ICML 2024</arxiv:comment>
    <link href="http://arxiv.org/abs/2405.21060v1" rel="alternate" type="text/html"/>
    <link title="pdf" href="http://arxiv.org/pdf/2405.21060v1" rel="related" \
type="application/pdf"/>
    <arxiv:primary_category xmlns:arxiv="http://arxiv.org/schemas/atom" term="cs.LG" \
scheme="http://arxiv.org/schemas/atom"/>
    <category term="cs.LG" scheme="http://arxiv.org/schemas/atom"/>
  </entry>
</feed>
"""
ARXIV_EMPTY = ARXIV[: ARXIV.index("  <entry>")].replace(">1<", ">0<") + "</feed>\n"
ARXIV_ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <title type="html">ArXiv Query: search_query=&amp;id_list=9999.99999</title>
  <entry>
    <id>http://arxiv.org/api/errors#incorrect_id_format_for_9999.99999</id>
    <title>Error</title>
    <summary>incorrect id format for 9999.99999</summary>
    <author><name>arXiv api core</name></author>
  </entry>
</feed>
"""
# Since late 2025 the namespaces stand at the root and addresses begin with https.
ARXIV_NEWER = """<?xml version='1.0' encoding='UTF-8'?>
<feed xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/" \
xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns="http://www.w3.org/2005/Atom">
  <id>https://arxiv.org/api/cHxbiOdZaP56ODnBPIenZhzg5f8</id>
  <title>arXiv Query: search_query=&amp;id_list=2405.21060&amp;start=0&amp;max_results=1</title>
  <updated>2026-11-20T18:34:08Z</updated>
  <opensearch:itemsPerPage>1</opensearch:itemsPerPage>
  <opensearch:totalResults>1</opensearch:totalResults>
  <opensearch:startIndex>0</opensearch:startIndex>
  <entry>
    <id>https://arxiv.org/abs/2405.21060v1</id>
    <title>Transformers are SSMs</title>
    <updated>2024-05-31T17:50:01Z</updated>
    <summary>A stand-in.</summary>
    <category term="cs.LG" scheme="http://arxiv.org/schemas/atom"/>
    <published>2024-05-31T17:50:01Z</published>
    <arxiv:primary_category term="cs.LG"/>
    <author><name>Tri Dao</name></author>
  </entry>
</feed>
"""
S2_PAPER = {
    "paperId": "ca9f5b3bf0f54ad97513e6175b30497873670fed",
    "externalIds": {"ArXiv": "2405.21060", "DBLP": "conf/icml/DaoG24", "CorpusId": 270199762},
    "url": "https://www.semanticscholar.org/paper/ca9f5b3bf0f54ad97513e6175b30497873670fed",
    "title": "Transformers are SSMs",
    "abstract": None,
    "year": 2024,
    "fieldsOfStudy": ["Computer Science"],
    "authors": [
        {"authorId": "24593911", "name": "Tri Dao"},
        {"authorId": "1", "name": "Albert Gu"},
    ],
}
S2_SEARCH = {"total": 1, "offset": 0, "data": [S2_PAPER, {"paperId": "x", "title": None}]}
S2_MISSING = {"error": "Paper with id ARXIV:2405.99999 not found"}
S2_BUSY = {
    "message": "Too Many Requests. Please wait and try again or apply for a key for higher rate"
    " limits. https://www.semanticscholar.org/product/api#api-key-form",
    "code": "429",
}
VECTOR_STORE = {
    "object": "vector_store.search_results.page",
    "search_query": ["gated retention"],
    "data": [
        {
            "file_id": "file-123",
            "filename": "retention.md",
            "score": 0.81,
            "attributes": {},
            "content": [{"type": "text", "text": "Retention with a gate."}],
        }
    ],
    "has_more": False,
    "next_page": None,
}
SEARCH_RESULTS = {
    "object": "search",
    "results": [
        {
            "title": "RetNet explained",
            "url": "https://example.org/retnet",
            "snippet": "Decay per head.",
            "date": "2023-07-18",
            "last_updated": "2024-01-02",
        }
    ],
}


class Service:
    """Answers requests from a list, the last one for ever; remembers what was asked."""

    def __init__(self):
        self.answers = []
        self.asked = []

    def will(self, body, status=200, **headers):
        self.answers.append((status, body if isinstance(body, str) else json.dumps(body), headers))
        return self

    def answer(self, request, body):
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append((parts.path, query, dict(request.headers), body))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextlib.contextmanager
def serving():
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply("")

        def do_POST(self):
            self.reply(self.rfile.read(int(self.headers["content-length"])).decode())

        def reply(self, body):
            status, text, headers = service.answer(self, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
