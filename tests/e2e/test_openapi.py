"""What the platform answers is what its OpenAPI document says, and nothing beside it."""
import http.client
import json
import subprocess

import jsonschema
import pytest

from lab import APPS, connect_in

APP = "/v1/tenants/default/environments/dev/apps/spoken"
IN_PATHS = {"{tenant}": "default", "{environment}": "dev", "{app}": "spoken"}


class Api:
    def __init__(self, platform):
        self.platform = platform
        self.token = (platform.data / "secrets" / "operator.token").read_text().strip()
        self.document = self.call("GET", "/v1/openapi.json")[1]
        for schema in self.document["components"]["schemas"].values():
            if "properties" in schema:
                schema["additionalProperties"] = False

    def call(self, method, path, body=None):
        host, port = self.platform.api.rsplit(":", 1)
        connection = http.client.HTTPConnection("api")
        connection.sock = connect_in(self.platform.netns, host, int(port))
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None

    def check(self, method, path, body=None, status=None):
        """Calls, and compares with what the document has for this path; returns the answer."""
        pattern = next(p for p in self.document["paths"] if fill(p) == path.split("?")[0])
        got, answer = self.call(method, path, body)
        assert status in (None, got), answer
        responses = self.document["paths"][pattern][method.lower()]["responses"]
        if got >= 400:
            schema = {"$ref": "#/components/schemas/Problem"}
        else:
            assert str(got) in responses, f"{method} {pattern}: {got} is not among {list(responses)}"
            schema = responses[str(got)]["content"]["application/json"]["schema"]
        assert schema != {"type": "object"}, f"{method} {pattern}: nothing is said about the answer"
        jsonschema.Draft202012Validator({**schema, "components": self.document["components"]}).validate(answer)
        return answer


def fill(pattern):
    for name, value in IN_PATHS.items():
        pattern = pattern.replace(name, value)
    return pattern


@pytest.fixture(scope="module")
def api(platform, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoken")
    subprocess.run(["gcc", "-O2", "-static", "-o", folder / "hello", APPS / "hello-c" / "hello.c"], check=True)
    (folder / "dialtone.yaml").write_text("name: spoken\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n"
                                          "    health:\n      path: /\nenv:\n  COLOUR: blue\n")
    platform.push(folder)
    return Api(platform)


def test_what_is_read(api):
    read = 0
    for pattern, methods in api.document["paths"].items():
        responses = methods.get("get", {}).get("responses", {})
        if "application/json" in responses.get("200", {}).get("content", {}) and pattern != "/v1/openapi.json":
            answer = api.check("GET", fill(pattern), status=200)
            assert "items" not in answer or answer["items"], f"{pattern} is empty: nothing was compared"
            read += 1
    assert read >= 14


def test_what_is_changed(api):
    release = api.check("GET", APP + "/releases?limit=1")["items"][0]
    deployment = {"spec": release["spec"], "artifact": release["artifact"]}
    assert not api.check("PUT", APP, deployment, 200)["changed"]
    assert api.check("POST", APP + "/scale", {"instances": 2}, 202)["changed"]
    assert not api.check("POST", APP + "/scale", {"instances": 2}, 200)["changed"]
    api.check("PATCH", APP + "/env", {"COLOUR": "blue"}, 200)
    api.check("PATCH", APP + "/env", {"COLOUR": "red"}, 202)
    assert api.check("POST", APP + "/plan", deployment, 200)["changed"]
    api.check("PUT", APP, deployment, 202)
    api.check("POST", APP + "/rollback", {"release": 1}, 202)
    api.check("POST", APP + "/start", {}, 200)
    api.check("POST", APP + "/restart", {}, 202)
    api.check("POST", APP + "/stop", {}, 202)
    api.check("POST", APP + "/stop", {}, 200)


def test_what_is_refused(api):
    api.check("POST", APP + "/scale", {"instances": "many"}, 400)
    api.check("PUT", APP, {"spec": {}, "artifact": "x"}, 400)
    for path in (APP + "/releases", APP + "/instances", "/v1/audit", "/v1/nodes"):
        for query, field in (("limit=0", "limit"), ("limit=x", "limit"), ("cursor=bogus", "cursor")):
            assert api.check("GET", f"{path}?{query}", status=400).get("field", "cursor") == field


def test_headers_and_parameters_are_declared(api):
    logs = api.document["paths"]["/v1/tenants/{tenant}/environments/{environment}/apps/{app}/logs"]["get"]
    assert "Last-Event-ID" in {p["name"] for p in logs["parameters"] if p["in"] == "header"}
