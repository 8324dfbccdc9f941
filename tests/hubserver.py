"""A Hub in a thread: the endpoints by which huggingface_hub makes a repository, uploads (LFS), commits and downloads.

Blobs and commits are kept in memory. The server can be told to break a connection in the middle of a body, and notes
every request, so that a test can count what was sent twice.
"""

import base64
import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = (".safetensors", ".bin")


def git_oid(data):
    "The name of a file in git."
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repo:
    "A repository: its files as of the last commit."

    def __init__(self, private=False):
        self.private, self.files, self.commits = private, {}, []  # name -> (bytes, whether large)
        self.commit({})

    def commit(self, files, gone=()):
        self.files = {k: v for k, v in {**self.files, **files}.items() if k not in gone}
        said = [(k, git_oid(v[0])) for k, v in sorted(self.files.items())]
        self.commits.append(hashlib.sha1(json.dumps([said, len(self.commits)]).encode()).hexdigest())
        return self.commits[-1]


class Hub:
    "What the server knows, and what went over the wire."

    def __init__(self):
        self.repos, self.blobs = {}, {}  # blobs: sha256 -> bytes
        self.tokens = {"hf_mine": "me", "hf_other": "you"}
        self.log, self.received, self.sent = [], 0, 0
        self.breaks_put, self.breaks_get = 0, 0  # how many bodies are cut in the middle
        self.answer = None  # a status that answers everything
        self.refuses = None  # a status that answers every commit
        self.stays = False  # whether nothing can be deleted
        self.delay = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.other = f"http://localhost:{self.server.server_port}"  # large files come from another host
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, name, folder, private=False):
        "A repository with the files of a folder."
        repo = self.repos[name] = Repo(private)
        files = {}
        for p in sorted(folder.rglob("*")):
            if p.is_file():
                files[p.relative_to(folder).as_posix()] = (p.read_bytes(), p.name.endswith(LARGE))
        repo.commit(files)
        return repo

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    # ---- answers
    def say(self, code, body=None, **headers):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(code)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self):
        "What was sent; half of it, and no more, where the connection is to break."
        n = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            return self.chunked()
        if self.command == "PUT" and self.hub.breaks_put:
            self.hub.breaks_put -= 1
            self.hub.received += len(self.rfile.read(n // 2))
            self.connection.close()
            raise ConnectionAbortedError
        data = self.rfile.read(n)
        self.hub.received += len(data)
        return data

    def chunked(self):
        "What was sent in pieces, each with its size before it."
        parts = []
        while n := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(n))
            self.rfile.readline()
            self.hub.received += n
            if self.hub.breaks_put and self.command == "PUT":
                self.hub.breaks_put -= 1
                self.connection.close()
                raise ConnectionAbortedError
        self.rfile.readline()
        return b"".join(parts)

    def chunks(self, data):
        "Send a body; half of it where the connection is to break."
        if self.hub.breaks_get and self.path.startswith("/cdn/"):
            self.hub.breaks_get -= 1
            data = data[: len(data) // 2]
            self.close_connection = True
        self.hub.sent += len(data)
        self.wfile.write(data)

    def user(self):
        return self.hub.tokens.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))

    def repo(self, name):
        "A repository that the person may see."
        found = self.hub.repos.get(name)
        mine = found and (not found.private or self.user() == name.split("/")[0])
        if mine:
            return found
        self.say(404 if self.user() else 401, dict(error="Repository not found"), X_Error_Code="RepoNotFound")

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def route(self):
        self.hub.log.append((self.command, self.path))
        data = self.body()
        time.sleep(self.hub.delay)
        if self.hub.answer:
            return self.say(self.hub.answer, dict(error="in trouble"))
        path = self.path.split("?")[0]
        for pattern, what in ROUTES:
            found = re.fullmatch(pattern, path)
            if found:
                return what(self, data, *found.groups())
        self.say(404, dict(error=f"no route {path}"))

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = route

    # ---- who, and where
    def whoami(self, data):
        user = self.user()
        if not user:
            return self.say(401, dict(error="Invalid credentials in Authorization header"))
        self.say(200, dict(type="user", name=user, orgs=[], auth=dict(type="access_token")))

    def create(self, data):
        asked = json.loads(data)
        owner = asked.get("organization") or self.user()
        name = f"{owner}/{asked['name']}"
        if not self.user():
            return self.say(401, dict(error="Invalid username or password."))
        if owner != self.user():
            return self.say(403, dict(error="You don't have the rights to create a model under this namespace"))
        if name in self.hub.repos:
            return self.say(409, dict(error="You already created this model repo", url=f"{self.hub.url}/{name}"))
        self.hub.repos[name] = Repo(asked.get("visibility") == "private" or bool(asked.get("private")))
        self.say(200, dict(url=f"{self.hub.url}/{name}", name=name))

    def delete(self, data):
        asked = json.loads(data)
        name = f"{asked.get('organization') or self.user()}/{asked['name']}"
        if self.hub.stays:
            return self.say(403, dict(error="this token may not delete"))
        if self.writable(name):
            del self.hub.repos[name]
            self.say(200)

    def yaml(self, data):
        self.say(200, dict(errors=[], warnings=[]))

    # ---- uploading
    def writable(self, name):
        repo = self.repo(name)
        if repo and self.user() == name.split("/")[0]:
            return repo
        if repo:
            self.say(403, dict(error="you have no permission to write here"))

    def preupload(self, data, name, revision):
        repo = self.writable(name)
        if not repo:
            return
        files = []
        for f in json.loads(data)["files"]:
            held = repo.files.get(f["path"])
            large = f["path"].endswith(LARGE)
            oid = held and (hashlib.sha256(held[0]).hexdigest() if held[1] else git_oid(held[0]))
            files.append(
                dict(path=f["path"], uploadMode="lfs" if large else "regular", shouldIgnore=False, oid=oid)
            )
        self.say(200, dict(files=files))

    def batch(self, data, name):
        if not self.writable(name):
            return
        out = []
        for o in json.loads(data)["objects"]:
            if o["oid"] not in self.hub.blobs:
                o["actions"] = dict(upload=dict(href=f"{self.hub.url}/store/{o['oid']}", header={}))
            out.append(o)
        self.say(200, dict(transfer="basic", objects=out))

    def store(self, data, oid):
        if hashlib.sha256(data).hexdigest() != oid:
            return self.say(400, dict(error="these bytes are of another file"))
        self.hub.blobs[oid] = data
        self.say(200)

    def commit(self, data, name, revision):
        repo = self.writable(name)
        if not repo:
            return
        if self.hub.refuses:
            return self.say(self.hub.refuses, dict(error="your storage is full"))
        files, gone = {}, []
        for line in map(json.loads, data.splitlines()):
            o = line["value"]
            if line["key"] == "file":
                files[o["path"]] = (base64.b64decode(o["content"]), False)
            elif line["key"] == "lfsFile":
                if o["oid"] not in self.hub.blobs:
                    return self.say(400, dict(error=f"no such object {o['oid']}"))
                files[o["path"]] = (self.hub.blobs[o["oid"]], True)
            elif line["key"] == "deletedFile":
                gone.append(o["path"])
        oid = repo.commit(files, gone)
        self.say(200, dict(success=True, commitOid=oid, commitUrl=f"{self.hub.url}/{name}/commit/{oid}"))

    # ---- downloading
    def info(self, data, name, revision="main"):
        repo = self.repo(name)
        if not repo:
            return
        if revision not in ("main", *repo.commits):
            return self.say(404, dict(error="no such revision"), X_Error_Code="RevisionNotFound")
        names = [dict(rfilename=k) for k in repo.files]
        self.say(200, dict(_id="1", id=name, sha=repo.commits[-1], private=repo.private, siblings=names, tags=[]))

    def tree(self, data, name, revision):
        repo = self.repo(name)
        if not repo:
            return
        out = []
        for path, (blob, large) in repo.files.items():
            entry = dict(type="file", path=path, size=len(blob), oid=git_oid(blob))
            if large:
                entry["lfs"] = dict(oid=hashlib.sha256(blob).hexdigest(), size=len(blob), pointerSize=134)
            out.append(entry)
        self.say(200, out)

    def resolve(self, data, name, revision, path):
        repo = self.repo(name)
        if not repo:
            return
        commit = dict(X_Repo_Commit=repo.commits[-1])
        if path not in repo.files:
            return self.say(404, dict(error="no such file"), X_Error_Code="EntryNotFound", **commit)
        blob, large = repo.files[path]
        if not large:
            return self.give(blob, f'"{git_oid(blob)}"', **commit)
        oid = hashlib.sha256(blob).hexdigest()
        self.hub.blobs[oid] = blob
        linked = dict(X_Linked_Etag=f'"{oid}"', X_Linked_Size=str(len(blob)), Location=f"{self.hub.other}/cdn/{oid}")
        self.say(302, None, **commit, **linked)

    def cdn(self, data, oid):
        self.give(self.hub.blobs[oid], f'"{oid}"')

    def give(self, blob, etag, **headers):
        "A file, or the rest of it from where the other side already has it."
        start = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
        at = int(start[1]) if start else 0
        self.send_response(206 if at else 200)
        for k, v in dict(headers, ETag=etag).items():
            self.send_header(k.replace("_", "-"), v)
        if at:
            self.send_header("Content-Range", f"bytes {at}-{len(blob) - 1}/{len(blob)}")
            self.hub.log.append(("RANGE", at))
        self.send_header("Content-Length", str(len(blob) - at))
        self.end_headers()
        if self.command != "HEAD":
            self.chunks(blob[at:])


NAME = r"([\w.-]+(?:/[\w.-]+)?)"
ROUTES = [
    (r"/api/whoami-v2", _Handler.whoami),
    (r"/api/repos/create", _Handler.create),
    (r"/api/repos/delete", _Handler.delete),
    (r"/api/validate-yaml", _Handler.yaml),
    (rf"/api/models/{NAME}/preupload/(\w+)", _Handler.preupload),
    (rf"/{NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    (r"/store/(\w+)", _Handler.store),
    (rf"/api/models/{NAME}/commit/(\w+)", _Handler.commit),
    (rf"/api/models/{NAME}/revision/(\w+)", _Handler.info),
    (rf"/api/models/{NAME}/tree/(\w+)", _Handler.tree),
    (rf"/api/models/{NAME}", _Handler.info),
    (rf"/{NAME}/resolve/(\w+)/(.+)", _Handler.resolve),
    (r"/cdn/(\w+)", _Handler.cdn),
]
