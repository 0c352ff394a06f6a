"""The running gateway keeps to its OpenAPI document, whatever is asked of it."""

import json
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import response_headers_conformance, status_code_conformance

from tests.cli.harness import ROOT
from tests.edge.conftest import Edge
from tests.edge.harness import forge_edge

DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())
CHECKS = [not_a_server_error, status_code_conformance, response_headers_conformance]


SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}


@pytest.mark.parametrize("label", OPERATIONS)
def test_what_is_answered_is_in_the_document(edge: Edge, label: str) -> None:
    base = f"http://{edge.gateway.host}:{edge.gateway.port}"
    writer = forge_edge_token(edge)

    @given(OPERATIONS[label].as_strategy())
    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def check(case: Any) -> None:
        for headers in ({}, {"Authorization": f"Bearer {writer}"}):
            case.call_and_validate(base_url=base, headers=headers, checks=CHECKS)

    check()


_TOKENS: dict[str, str] = {}


def forge_edge_token(edge: Edge) -> str:
    """A token that may write, made once."""
    key = str(edge.home)
    if key not in _TOKENS:
        _TOKENS[key] = forge_edge(edge.home, "token", "--network", "team", "--write").splitlines()[-1]
    return _TOKENS[key]


def test_json_is_as_the_document_says(edge: Edge) -> None:
    for name, got in {
        "Directory": edge.gateway.ask(f"/links/{edge.link}/?format=json"),
        "Stored": edge.gateway.ask("/links", method="POST", body=b"x", token=forge_edge_token(edge)),
    }.items():
        schema_of = {**DOCUMENT["components"]["schemas"][name], "components": DOCUMENT["components"]}
        jsonschema.validate(got.json, schema_of)


def test_every_path_of_the_document_is_in_the_page() -> None:
    page = (ROOT / "docs" / "http-api.md").read_text()
    for path in DOCUMENT["paths"]:
        assert f"/{path.split('/')[1]}" in page
