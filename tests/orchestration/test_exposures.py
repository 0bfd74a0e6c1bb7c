"""What dbt says of readers and owners of its models is what the asset graph says."""

import json

import dagster as dg

from orchestration.assets.warehouse import project, warehouse
from orchestration.definitions import defs

GRAPH = defs.resolve_asset_graph()
MANIFEST = json.loads(project.manifest_path.read_text(encoding="utf-8"))
# by asset outside of dbt, the models that it reads
READERS = {
    key: {parent.path[-1] for parent in GRAPH.get(key).parent_keys & warehouse.keys}
    for key in GRAPH.materializable_asset_keys - warehouse.keys
    if GRAPH.get(key).parent_keys & warehouse.keys
}


def assets_of(exposure: dict) -> list[dg.AssetKey]:
    return [dg.AssetKey.from_user_string(name) for name in exposure["config"]["meta"]["dagster_assets"]]


def test_every_reader_belongs_to_one_exposure_with_its_owner() -> None:
    exposed = [(key, exposure) for exposure in MANIFEST["exposures"].values() for key in assets_of(exposure)]
    assert sorted(key for key, _ in exposed) == sorted(READERS)
    for key, exposure in exposed:
        assert GRAPH.get(key).owners == [f"team:{exposure['owner']['name']}"], key


def test_exposures_depend_on_what_their_assets_read() -> None:
    for exposure in MANIFEST["exposures"].values():
        models = {MANIFEST["nodes"][name]["name"] for name in exposure["depends_on"]["nodes"]}
        assert models == set().union(*(READERS[key] for key in assets_of(exposure))), exposure["name"]


def test_owners_of_models_are_those_of_dbt() -> None:
    models = {
        dg.AssetKey([node["schema"], node["name"]]): node
        for node in MANIFEST["nodes"].values()
        if node["resource_type"] == "model"
    }
    assert set(models) == warehouse.keys
    for key, node in models.items():
        assert GRAPH.get(key).owners == node["meta"]["dagster"]["owners"] == [f"team:{node['config']['group']}"], key
        assert GRAPH.get(key).group_name == node["meta"]["dagster"]["group"], key
