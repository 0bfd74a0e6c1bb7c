"""What a choice of recipes stands for, and what it leaves out of the graph."""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg
import pytest

from ml.baselines.registry import ALWAYS_RUN, BASELINES
from ml.codes.recipe import load_codes_recipes
from ml.extras import MissingExtra
from ml.recommenders import registry as recommenders
from ml.recommenders.check_choice import check_audit_model, check_recipes
from ml.recommenders.choice import chosen_names, compared, needed_codes, needed_teacher_lists
from ml.recommenders.modules import modules_of
from ml.recommenders.registry import teacher_of
from ml.training.recipe import RECIPES, load_recipes
from orchestration import code_versions
from orchestration.dataset_settings import chosen
from orchestration.definitions import defs
from orchestration.resources import Settings
from orchestration.selection import REPORT, left_out, unwanted

GRAPH = defs.resolve_asset_graph()
CODES = ("random", "svd", "tiny_text")
QUICK = ["tiny_recjpq", "tiny_softmax", "tiny_fusion"]
FULL = ["tiny_gsasrec", *QUICK]
# baselines that run only where they are chosen
NOT_ALWAYS_RUN = [name for name in BASELINES if name not in ALWAYS_RUN]
# als needs an extra and is in no set
CHOSEN = [name for name in NOT_ALWAYS_RUN if name != "als"]
RERANKED, ALIGNED = "mmr_0.3_of_tiny_fusion", "aligned_tiny_student"
BEYOND_ACCURACY = ["tiny_recjpq", "tiny_softmax", "tiny_student", "tiny_fusion", RERANKED, ALIGNED]


@pytest.mark.parametrize(
    ("named", "stands_for"),
    [
        ([], QUICK),
        (["quick"], QUICK),
        (["full"], FULL),
        (["full", "quick"], FULL),
        (["beyond_accuracy"], BEYOND_ACCURACY),
        (["published"], ["tiny_published"]),
        (["knowledge"], [*CHOSEN, *FULL]),
        (["ease", "item_knn"], ["item_knn", "ease"]),
        (["quick", "ease"], ["ease", *QUICK]),
        (["quick", "tiny_published"], ["tiny_published", *QUICK]),
        (["tiny_gsasrec"], ["tiny_gsasrec"]),
        (["tiny_softmax"], ["tiny_softmax"]),
        (["tiny_softmax", "tiny_fusion"], ["tiny_softmax", "tiny_fusion"]),
        # a fusion is nothing without its parts
        (["tiny_gsasrec", "tiny_fusion"], ["tiny_gsasrec"]),
        # and a re-ranking nothing without what it re-ranks
        (["tiny_softmax", RERANKED], ["tiny_softmax"]),
        (["tiny_softmax", "tiny_fusion", RERANKED], ["tiny_softmax", "tiny_fusion", RERANKED]),
        # and a student nothing without its teacher
        (["tiny_student", "tiny_gsasrec"], ["tiny_gsasrec"]),
        (["tiny_student", "tiny_softmax"], ["tiny_softmax", "tiny_student"]),
        # and an alignment nothing without its student and all that this needs
        (["tiny_gsasrec", "tiny_student", ALIGNED], ["tiny_gsasrec"]),
        (["tiny_softmax", "tiny_student", ALIGNED], ["tiny_softmax", "tiny_student", ALIGNED]),
    ],
)
def test_sets_and_names(named: list[str], stands_for: list[str]) -> None:
    found = chosen_names(named)
    assert found == stands_for
    assert chosen_names(found) == found
    assert compared(named) == [*ALWAYS_RUN, *found]


def test_the_quick_set_of_the_library_is_small() -> None:
    sets = {recipe.name: recipe.set for recipe in load_recipes(RECIPES)}
    quick = {name for name, set_ in sets.items() if set_ == "quick"}
    assert quick == {"gsasrec", "gsasrec_recjpq", "sasrec_sampled_softmax"}


def test_what_does_not_exist_is_named_with_what_does() -> None:
    with pytest.raises(
        ValueError, match=r"no recipe mine, yours; there are item_knn, .*tiny_gsasrec, .*sets quick, full, gen"
    ):
        check_recipes(["yours", "tiny_softmax", "mine"])
    check_recipes(["quick", "tiny_published"])
    check_recipes([])


def test_a_fusion_asks_for_its_parts() -> None:
    with pytest.raises(ValueError, match=r"tiny_fusion is a fusion.*add tiny_softmax to RECIPES"):
        check_recipes(["tiny_fusion"])
    check_recipes(["tiny_fusion", "tiny_softmax"])


def test_a_re_ranking_asks_for_its_part_and_the_parts_of_it() -> None:
    with pytest.raises(ValueError, match=rf"{RERANKED} is a re-ranking.*add tiny_softmax,tiny_fusion to RECIPES"):
        check_recipes([RERANKED])
    check_recipes([RERANKED, "tiny_fusion", "tiny_softmax"])
    with pytest.raises(ValueError, match=rf"no recipe mmr_0.3_of_tiny_fuson \(did you mean {RERANKED}\?\)"):
        check_recipes(["mmr_0.3_of_tiny_fuson"])


def test_a_student_asks_for_its_teacher() -> None:
    assert teacher_of("tiny_student") == "tiny_softmax"
    assert teacher_of("tiny_softmax") is None
    with pytest.raises(ValueError, match=r"tiny_student is taught by another recommender, which .*add tiny_softmax"):
        check_recipes(["tiny_student"])
    check_recipes(["tiny_student", "tiny_softmax"])
    assert needed_teacher_lists(chosen_names(["tiny_student", "tiny_softmax"])) == {"tiny_lists"}
    assert needed_teacher_lists(chosen_names(["quick"])) == set()


@pytest.fixture
def nothing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """No extra is installed."""
    monkeypatch.setattr("ml.extras.find_spec", lambda name: None)


@pytest.mark.usefixtures("nothing_extra")
def test_without_torch_no_model_is_chosen_by_default_and_none_can_be_named() -> None:
    assert chosen_names([]) == []
    assert compared([]) == [*ALWAYS_RUN]
    # a choice that was written down elsewhere stays what it is
    assert chosen_names(["tiny_softmax"]) == ["tiny_softmax"]
    check_recipes([])
    check_audit_model("")
    for check in (lambda: check_recipes(["quick"]), lambda: check_audit_model("tiny_softmax")):
        with pytest.raises(MissingExtra, match=r"needs torch, which is not installed: pip install 'raw2rank\[train\]'"):
            check()
    # what does not exist is said first
    with pytest.raises(ValueError, match="no recipe mine"):
        check_recipes(["mine"])


def test_what_is_left_out_without_an_extra_is_told(nothing_extra: None) -> None:
    by_default = left_out([])
    assert [sentence.partition(":")[0] for sentence in by_default] == ["models are left out", "the report is left out"]
    assert left_out(["tiny_softmax"]) == by_default[1:]
    assert REPORT in unwanted(GRAPH, [])


def test_with_all_extras_nothing_is_left_out() -> None:
    assert left_out([]) == []
    assert REPORT not in unwanted(GRAPH, [])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes of its own, copied from that of the tests."""
    for path in recommenders.recipes_folder().rglob("*.toml"):
        copied = tmp_path / path.relative_to(recommenders.recipes_folder())
        copied.parent.mkdir(exist_ok=True)
        copied.write_text(path.read_text())
    monkeypatch.setenv("RAW2RANK_RECIPES", str(tmp_path))
    caches = (
        recommenders.recipes,
        recommenders.fusions,
        recommenders.rerankings,
        recommenders.alignments,
        recommenders.language_models,
        recommenders.codes_recipes,
        recommenders.teacher_lists_recipes,
    )
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()


def rewrite(path: Path, pattern: str, replacement: str) -> None:
    text, times = re.subn(pattern, replacement, path.read_text())
    assert times == 1
    path.write_text(text)


def test_codes_without_a_recipe_are_named_with_those_that_have_one(folder: Path) -> None:
    rewrite(folder / "tiny_recjpq.toml", 'codes = "svd"', 'codes = "svt"')
    with pytest.raises(
        ValueError,
        match=r"tiny_recjpq\.toml: there is no recipe of codes svt \(did you mean svd\?\); there are random, svd, tiny",
    ):
        recommenders.codes_recipes()


def test_recipes_without_codes_of_their_own_take_those_of_the_library(folder: Path) -> None:
    for path in (folder / "codes").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"no recipe of codes \w+; there are none"):
        recommenders.codes_recipes()
    (folder / "codes").rmdir()
    # but for those of the vectors of models that the folder has no recipe of
    assert list(load_codes_recipes().keys() - recommenders.codes_recipes().keys()) == ["text_and_sasrec"]
    recommenders.codes_recipes.cache_clear()
    recommenders.recipes.cache_clear()
    rewrite(folder / "tiny_recjpq.toml", 'codes = "svd"', 'codes = "text_and_sasrec"')
    with pytest.raises(
        ValueError, match=r"text_and_sasrec\.toml: vectors\.recipe: there is no model sasrec_sampled_soft"
    ):
        recommenders.codes_recipes()


def write_codes_of_vectors(folder: Path, source: str) -> None:
    """Codes of the item vectors of a model, which ``tiny_recjpq`` is built on."""
    text = (folder / "codes" / "tiny_text.toml").read_text()
    head = text[: text.index("[[vectors]]")]
    (folder / "codes" / "of_vectors.toml").write_text(
        f'{head}[[vectors]]\nof = "recipe"\nrecipe = "{source}"\ndimensions = 8\n'
    )
    rewrite(folder / "tiny_recjpq.toml", 'codes = "svd"', 'codes = "of_vectors"')


def test_a_model_asks_for_the_model_whose_vectors_its_codes_are_made_of(folder: Path) -> None:
    write_codes_of_vectors(folder, "tiny_softmax")
    with pytest.raises(
        ValueError,
        match=r"tiny_recjpq is built on codes of the item vectors of another .*: add tiny_softmax to RECIPES",
    ):
        check_recipes(["tiny_recjpq"])
    check_recipes(["tiny_recjpq", "tiny_softmax"])
    # and is nothing without it
    assert chosen_names(["tiny_recjpq", "tiny_gsasrec"]) == ["tiny_gsasrec"]
    assert needed_codes(chosen_names(["quick"])) == {"of_vectors"}
    # audits that train it again train the other one too
    audited = chosen(Settings(audit_model="tiny_recjpq"), "audits")
    rewrite(folder / "tiny_softmax.toml", "max_epochs = 2", "max_epochs = 3")
    recommenders.recipes.cache_clear()
    assert chosen(Settings(audit_model="tiny_recjpq"), "audits") != audited


@pytest.mark.parametrize(
    ("source", "file", "message"),
    [
        (
            "tiny_softmix",
            "of_vectors",
            r"vectors\.recipe: there is no model tiny_softmix \(did you mean tiny_softmax\?\)",
        ),
        ("tiny_recjpq", "of_vectors", r"vectors\.recipe: of_vectors -> tiny_recjpq -> of_vectors is a circle"),
        ("tiny_gsasrec", "tiny_recjpq", "in the set quick, but its source of item vectors tiny_gsasrec is in full al"),
    ],
)
def test_codes_of_vectors_that_cannot_be_made_are_named(folder: Path, source: str, file: str, message: str) -> None:
    write_codes_of_vectors(folder, source)
    with pytest.raises(ValueError, match=rf"{file}\.toml: {message}"):
        recommenders.codes_recipes()


def test_teacher_lists_without_a_recipe_are_named_with_those_that_have_one(folder: Path) -> None:
    rewrite(folder / "tiny_student.toml", '"tiny_lists"', '"tiny_list"')
    with pytest.raises(
        ValueError,
        match=r"tiny_student\.toml: there is no recipe of teacher lists tiny_list \(did you mean tiny_lists\?\)",
    ):
        recommenders.teacher_lists_recipes()


def test_a_teacher_that_does_not_exist_is_named_with_the_nearest(folder: Path) -> None:
    rewrite(folder / "teacher_lists" / "tiny_lists.toml", '"tiny_softmax"', '"tiny_softmix"')
    with pytest.raises(
        ValueError,
        match=r"tiny_lists\.toml: there is no tiny_softmix to be a teacher \(did you mean tiny_softmax\?\); there are",
    ):
        recommenders.teacher_lists_recipes()


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "message"),
    [
        ("tiny_student.toml", "marks = 2", "marks = 3", r"model\.marks is 3, .* are at 2 trade-offs \(0, 0\.5\)"),
        ("tiny_student.toml", '"validation"', "0.7", r"tradeoff is 0\.7, and the lists tiny_lists are at 0, 0\.5"),
        ("tiny_student.toml", "list_length = 10", "list_length = 5", "model.list_length is 5, .* hold 10 items"),
        ("tiny_softmax.toml", 'set = "quick"', 'set = "full"', "in the set beyond_accuracy, but its teacher tiny_soft"),
        ("teacher_lists/tiny_lists.toml", '"tiny_softmax"', '"tiny_student"', "its teacher tiny_student is taught by"),
    ],
)
def test_a_student_and_lists_that_do_not_go_together_are_refused(
    folder: Path, file: str, pattern: str, replacement: str, message: str
) -> None:
    # that these miss a part too would be said first
    for other in ("fusions/tiny_fusion.toml", f"rerankings/{RERANKED}.toml"):
        (folder / other).unlink()
    rewrite(folder / file, pattern, replacement)
    with pytest.raises(ValueError, match=f"tiny_student\\.toml: {message}"):
        recommenders.teacher_lists_recipes()


def test_recipes_of_ones_own_need_no_teacher_lists(folder: Path) -> None:
    (folder / "alignments" / f"{ALIGNED}.toml").unlink()
    (folder / "tiny_student.toml").unlink()
    (folder / "teacher_lists" / "tiny_lists.toml").unlink()
    (folder / "teacher_lists").rmdir()
    assert recommenders.teacher_lists_recipes() == {}
    assert chosen_names(["beyond_accuracy"]) == [*QUICK, RERANKED]


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        ('"tiny_student"', '"tiny_studnt"', r"there is no tiny_studnt to be a student \(did you mean tiny_student\?\)"),
        ('"tiny_student"', '"tiny_softmax"', "the student tiny_softmax does not generate its lists item by item"),
        ('"tiny_student"', '"markov_chain"', "the student markov_chain does not generate its lists item by item"),
        ('set = "beyond_accuracy"', 'set = "quick"', "in the set quick, but its student tiny_student is in beyond"),
    ],
)
def test_students_of_alignments_write_lists(folder: Path, pattern: str, replacement: str, message: str) -> None:
    rewrite(folder / "alignments" / f"{ALIGNED}.toml", pattern, replacement)
    with pytest.raises(ValueError, match=f"{ALIGNED}\\.toml: {message}"):
        recommenders.alignments()


def test_an_alignment_has_a_name_of_its_own(folder: Path) -> None:
    alignments = folder / "alignments"
    (alignments / f"{ALIGNED}.toml").rename(alignments / "tiny_fusion.toml")
    with pytest.raises(ValueError, match=r"tiny_fusion\.toml: tiny_fusion is the name of another recommender"):
        recommenders.alignments()


def test_an_alignment_that_lacks_its_student_says_what_to_add() -> None:
    with pytest.raises(ValueError, match=rf"{ALIGNED} is an alignment.*add tiny_softmax,tiny_student to RECIPES"):
        check_recipes([ALIGNED])


def test_a_part_that_does_not_exist_is_named(folder: Path) -> None:
    rewrite(folder / "fusions" / "tiny_fusion.toml", '"tiny_softmax"', '"tiny_hardmax"')
    with pytest.raises(ValueError, match=r"tiny_fusion\.toml: there is no tiny_hardmax.*markov_chain.*tiny_softmax"):
        recommenders.fusions()


def test_a_part_of_a_narrower_set_is_named(folder: Path) -> None:
    rewrite(folder / "tiny_softmax.toml", 'set = "quick"', 'set = "full"')
    with pytest.raises(ValueError, match="in the set quick, but its part tiny_softmax is in full alone"):
        recommenders.fusions()
    rewrite(folder / "fusions" / "tiny_fusion.toml", 'set = "quick"', 'set = "full"')
    for narrower in (f"rerankings/{RERANKED}.toml", f"alignments/{ALIGNED}.toml", "tiny_student.toml"):
        rewrite(folder / narrower, 'set = "beyond_accuracy"', 'set = "full"')
    recommenders.recipes.cache_clear()
    recommenders.fusions.cache_clear()
    assert chosen_names(["full"])[-3:] == ["tiny_fusion", RERANKED, ALIGNED]


@pytest.mark.parametrize(
    ("set_", "plain", "message"),
    [
        ("knowledge", "tiny_softmix", r"there is no tiny_softmix to be a plain recipe \(did you mean tiny_softmax\?\)"),
        ("knowledge", "tiny_gsasrec", "there is no tiny_gsasrec to be a plain recipe"),
        ("knowledge", "markov_chain", "there is no markov_chain to be a plain recipe"),
        (
            "knowledge",
            "tiny_published",
            "in the set knowledge, but its plain recipe tiny_published is in published alo",
        ),
        ("full", "tiny_student", "in the set full, but its plain recipe tiny_student is in beyond_accuracy alone"),
    ],
)
def test_a_plain_recipe_exists_and_is_run_with_its_counterpart(
    folder: Path, set_: str, plain: str, message: str
) -> None:
    rewrite(folder / "tiny_gsasrec.toml", 'set = "full"', f'set = "{set_}"\nfamily = "layers"\nplain = "{plain}"')
    with pytest.raises(ValueError, match=rf"tiny_gsasrec\.toml: {message}"):
        recommenders.recipes()


def test_a_recipe_with_a_plain_one_is_chosen_by_its_set(folder: Path) -> None:
    rewrite(
        folder / "tiny_gsasrec.toml", 'set = "full"', 'set = "knowledge"\nfamily = "layers"\nplain = "tiny_softmax"'
    )
    assert chosen_names(["knowledge"]) == [*CHOSEN, "tiny_gsasrec", *QUICK]


def test_the_set_beyond_accuracy_holds_its_recipes_and_the_quick_ones(folder: Path) -> None:
    rewrite(folder / "tiny_gsasrec.toml", 'set = "full"', 'set = "beyond_accuracy"')
    assert chosen_names(["beyond_accuracy"]) == ["tiny_gsasrec", *BEYOND_ACCURACY]
    assert "tiny_gsasrec" not in chosen_names(["full"])
    check_recipes(["beyond_accuracy"])


def test_a_fusion_has_a_name_of_its_own(folder: Path) -> None:
    (folder / "fusions" / "tiny_fusion.toml").rename(folder / "fusions" / "markov_chain.toml")
    with pytest.raises(ValueError, match=r"markov_chain\.toml: markov_chain is the name of another recommender"):
        recommenders.fusions()


def test_the_choice_is_written_down_as_what_it_stands_for() -> None:
    assert chosen(Settings(), "comparison") == {"recipes": QUICK}
    assert chosen(Settings(recipes=["full"]), "comparison") == {"recipes": FULL}


def test_another_recipe_of_the_audited_model_is_another_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(Settings(), "audits") == {"audit_model": ""}
    before = chosen(Settings(audit_model="tiny_softmax"), "audits")
    other = {**recommenders.recipes(), "tiny_softmax": recommenders.recipes()["tiny_gsasrec"]}
    monkeypatch.setattr("orchestration.dataset_settings.recipes", lambda: other)
    assert chosen(Settings(audit_model="tiny_softmax"), "audits") != before


def test_an_audited_model_that_does_not_exist_is_named_with_those_that_do() -> None:
    check_audit_model("")
    check_audit_model("tiny_softmax")
    with pytest.raises(ValueError, match=r"no recipe oracle for AUDIT_MODEL; there are .*tiny_softmax"):
        check_audit_model("oracle")


def test_every_recipe_of_codes_is_an_asset_and_made_where_it_is_needed() -> None:
    assert {key.path[-1] for key in GRAPH.materializable_asset_keys if key.path[0] == "codes"} == set(CODES)
    assert needed_codes(chosen_names([])) == {"svd"}
    assert needed_codes(chosen_names(["published"])) == {"random"}
    assert needed_codes(["tiny_softmax", "tiny_fusion"]) == set()


def test_the_code_of_a_contrast_decides_the_version_of_its_model(folder: Path) -> None:
    assert not {module for module in modules_of("tiny_softmax") if module.startswith("ml.contrast")}
    contrast = '[contrast]\nmethod = "augmentations"\nweight = 0.1\ntemperature = 0.1\nsimilarity = "cosine"\n'
    path = folder / "tiny_softmax.toml"
    path.write_text(path.read_text() + contrast)
    recommenders.recipes.cache_clear()
    assert "ml.contrast.augmentations" in modules_of("tiny_softmax")


def test_what_was_not_chosen_is_not_wanted() -> None:
    keys = {key.to_user_string() for key in unwanted(GRAPH, ["tiny_softmax"])}
    assert keys == {
        *(
            f"{layer}/{name}"
            for layer in ("models", "rankings")
            for name in {*FULL, RERANKED, ALIGNED, "tiny_published", "tiny_student"} - {"tiny_softmax"}
        ),
        *(f"{layer}/{name}" for layer in ("baselines", "rankings") for name in NOT_ALWAYS_RUN),
        *(f"codes/{name}" for name in CODES),
        "teacher_lists/tiny_lists",
        "searches/hyperparameters",
    }
    assert {key for key in unwanted(GRAPH, []) if key.path[0] == "codes"} == {
        dg.AssetKey(["codes", name]) for name in CODES if name != "svd"
    }


def test_the_code_of_a_model_and_of_no_other_decides_its_version() -> None:
    modules = modules_of("tiny_softmax")
    assert "ml.models.sasrec" in modules
    assert modules_of("markov_chain") == ["ml.baselines.markov_chain"]
    covered, waiting = set(), ["ml.training.train", *modules]
    while waiting:
        module = waiting.pop()
        if module not in covered:
            covered.add(module)
            waiting.extend(code_versions._imports(module))
    assert {"ml.models.sequential_model", "ml.training.loop", "ml.objectives.build", "ml.data.training_set"} <= covered
    assert not {module for module in covered if module.endswith((".caser", ".gru4rec", ".bert4rec"))}
    # goals that students choose a trade-off by are measured without reading the text of the items
    assert not {module for module in covered if module.startswith(("ml.text", "ml.data.item_text"))}


def test_what_a_re_ranking_is_of_has_to_exist(folder: Path) -> None:
    rewrite(folder / "rerankings" / f"{RERANKED}.toml", 'of = "tiny_fusion"', 'of = "tiny_fuson"')
    with pytest.raises(ValueError, match=r"there is no tiny_fuson to be a part \(did you mean tiny_fusion\?\)"):
        recommenders.rerankings()


def test_what_a_re_ranking_is_of_is_in_its_set(folder: Path) -> None:
    rewrite(folder / "rerankings" / f"{RERANKED}.toml", 'set = "beyond_accuracy"', 'set = "slow"')
    with pytest.raises(ValueError, match="in the set slow, but its part tiny_fusion is in quick alone"):
        recommenders.rerankings()


def test_a_re_ranking_has_a_name_of_its_own(folder: Path) -> None:
    (folder / "rerankings" / f"{RERANKED}.toml").rename(folder / "rerankings" / "tiny_fusion.toml")
    with pytest.raises(ValueError, match="tiny_fusion is the name of another recommender"):
        recommenders.rerankings()


def test_a_folder_of_recipes_may_have_no_re_rankings(folder: Path) -> None:
    (folder / "rerankings" / f"{RERANKED}.toml").unlink()
    (folder / "rerankings").rmdir()
    assert recommenders.rerankings() == {}
    assert chosen_names(["beyond_accuracy"]) == [name for name in BEYOND_ACCURACY if name != RERANKED]
