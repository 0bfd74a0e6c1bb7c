"""All recommenders by name, and the ones that a choice of recipes selects.

The baselines of the library, one model for each recipe file, and one fusion, re-ranking or alignment for each file in
the folders ``fusions``, ``rerankings`` and ``alignments`` beside the recipes. Baselines always run; of the others those
that are chosen, by name or by set.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ml.alignment.recipe import AlignmentRecipe, check_student, load_alignments
from ml.baselines.registry import ALWAYS_RUN, BASELINES
from ml.codes.recipe import CodesRecipe, load_codes_recipes
from ml.codes.registry import METHODS
from ml.config import nearest
from ml.extras import missing, remedy
from ml.fusion.recipe import FusionRecipe, load_fusions
from ml.language_models.recipe import LanguageModelRecipe, load_language_models
from ml.language_models.rerank_recipe import RerankRecipe
from ml.language_models.sources import obstacle
from ml.recommender import ALIGNMENT, BASELINE, FUSION, KINDS, LANGUAGE_MODEL, MODEL, RERANKING
from ml.reranking.recipe import RerankingRecipe, load_rerankings
from ml.teaching.recipe import TeacherListsRecipe, load_teacher_lists_recipes
from ml.training.item_features import modules_of_features
from ml.training.recipe import RECIPE_SETS, RECIPES, TEXT_SPACE, Recipe, load_recipes
from ml.training.tradeoffs import check_lists_of_recipe

# what each name of a set stands for, and the set that is taken where nothing is named
_SETS = {
    "quick": ("quick",),
    "full": ("quick", "full"),
    "generative": ("quick", "generative"),
    "beyond_accuracy": ("quick", "beyond_accuracy"),
    "knowledge": ("quick", "full", "knowledge"),
    "slow": ("slow",),
    "published": ("published",),
}
DEFAULT_SET = "quick"
# the set of the baselines that run only where they are chosen
CHOSEN_BASELINES = "knowledge"
assert set(_SETS) == set(RECIPE_SETS)


@dataclass(frozen=True)
class Registry:
    """Recommenders by name: the baselines of the library, and recipes of models, fusions, re-rankings and
    alignments.

    Attributes:
        recipes: of models, by name.
        fusions: recipes of fusions, by name.
        codes: recipes of codes, by name; by default those of the library.
        rerankings: recipes of re-rankings, by name.
        teacher_lists: recipes of teacher lists, by name; by default those of the library.
        alignments: recipes of alignments, by name.
        language_models: recipes of language models, by name.
    """

    recipes: Mapping[str, Recipe]
    fusions: Mapping[str, FusionRecipe]
    codes: Mapping[str, CodesRecipe] = field(default_factory=load_codes_recipes)
    rerankings: Mapping[str, RerankingRecipe] = field(default_factory=dict)
    teacher_lists: Mapping[str, TeacherListsRecipe] = field(default_factory=load_teacher_lists_recipes)
    alignments: Mapping[str, AlignmentRecipe] = field(default_factory=dict)
    language_models: Mapping[str, LanguageModelRecipe] = field(default_factory=dict)

    def kind_of(self, name: str) -> str:
        """One of :data:`ml.recommender.KINDS`.

        Raises:
            KeyError: there is no such recommender.
        """
        for kind, known in self._of_kinds().items():
            if name in known:
                return kind
        raise KeyError(f"there is no recommender {name}")

    def title_of(self, name: str) -> str:
        """The title of a recommender.

        Raises:
            KeyError: there is no such recommender.
        """
        return self._of_kinds()[self.kind_of(name)][name].title

    def _of_kinds(self) -> dict[str, Mapping[str, Any]]:
        return {
            BASELINE: BASELINES,
            MODEL: self.recipes,
            FUSION: self.fusions,
            RERANKING: self.rerankings,
            ALIGNMENT: self.alignments,
            LANGUAGE_MODEL: self.language_models,
        }

    def parts_of(self, name: str) -> tuple[str, ...]:
        """All that a fusion or re-ranking is made of, each part behind its own parts; any other recommender is its own
        only part."""
        kind, of = self.kind_of(name), self.reranked_by(name)
        if of is not None:
            return tuple(dict.fromkeys((*self.parts_of(of), of)))
        return self.fusions[name].parts if kind == FUSION else (name,)

    def reranked_by(self, name: str) -> str | None:
        """The recommender whose lists a re-ranking, or a language model, re-ranks; ``None`` for any other one."""
        if name in self.rerankings:
            return self.rerankings[name].of
        language_model = self.language_models.get(name)
        return language_model.of if isinstance(language_model, RerankRecipe) else None

    def teacher_of(self, name: str) -> str | None:
        """The recommender whose lists a model is taught; ``None`` for one that is taught none."""
        taught = self.lists_taught_to(name)
        return None if taught is None else taught.teacher

    def lists_taught_to(self, name: str) -> TeacherListsRecipe | None:
        """The recipe of the lists that a student is taught; ``None`` for any other recommender."""
        lists = self.recipes[name].teacher_lists if name in self.recipes else None
        return None if lists is None else self.teacher_lists[lists]

    def built_on(self, name: str) -> tuple[str, ...]:
        """All recommenders that are fitted before one, each behind those that it is built on itself: the parts of a
        fusion or re-ranking, the teacher of a model, and the student of an alignment."""
        teacher = self.teacher_of(name)
        direct = [*(part for part in self.parts_of(name) if part != name), *([] if teacher is None else [teacher])]
        if name in self.alignments:
            direct.append(self.alignments[name].student)
        return tuple(dict.fromkeys(each for part in direct for each in (*self.built_on(part), part)))


def registry() -> Registry:
    """The recommenders of the recipes' folder (:func:`recipes_folder`)."""
    return Registry(
        recipes(),
        fusions(),
        codes_recipes(),
        rerankings(),
        teacher_lists_recipes(),
        alignments(),
        language_models(),
    )


def library_registry() -> Registry:
    """The recommenders whose recipes come with the library, whatever ``RAW2RANK_RECIPES`` says."""
    return Registry(
        recipes={recipe.name: recipe for recipe in load_recipes()},
        fusions={fusion.name: fusion for fusion in load_fusions()},
        rerankings={reranking.name: reranking for reranking in load_rerankings()},
        alignments={alignment.name: alignment for alignment in load_alignments()},
        language_models={recipe.name: recipe for recipe in load_language_models()},
    )


def recipes_folder() -> Path:
    """``$RAW2RANK_RECIPES``, a folder of one's own, else that of the library."""
    return Path(os.environ.get("RAW2RANK_RECIPES") or RECIPES)


@cache
def recipes() -> dict[str, Recipe]:
    """Recipes by name, in the order of their names.

    Raises:
        ValueError: the plain recipe that one names does not exist, is itself, or is not in all sets that it is in.
    """
    found = {recipe.name: recipe for recipe in load_recipes(recipes_folder())}
    sets = {name: recipe.set for name, recipe in found.items()}
    for name, recipe in found.items():
        if recipe.plain is not None:
            others = {other: set_ for other, set_ in sets.items() if other != name}
            _check_part(str(recipe_file(name)), recipe.set, recipe.plain, others, "plain recipe")
    return found


def recipe_file(name: str) -> Path:
    return recipes_folder() / f"{name}.toml"


@cache
def fusions() -> dict[str, FusionRecipe]:
    """Fusions by name, in the order of their names; none where there is no folder of them.

    Raises:
        ValueError: a fusion has the name of another recommender, or is made of one that does not exist or that is
            not in all sets that it is in.
    """
    folder = recipes_folder() / "fusions"
    found = {fusion.name: fusion for fusion in load_fusions(folder)}
    for name, fusion in found.items():
        where = f"{folder / name}.toml"
        if name in BASELINES or name in recipes():
            raise ValueError(f"{where}: {name} is the name of another recommender; choose another one")
        for part in fusion.parts:
            _check_part(where, fusion.set, part, _sets_of(recipes()))
    return found


@cache
def rerankings() -> dict[str, RerankingRecipe]:
    """Re-rankings by name, in the order of their names; none where there is no folder of them.

    Raises:
        ValueError: a re-ranking has the name of another recommender, or is of one that does not exist or that is not in
            all sets that it is in.
    """
    folder = recipes_folder() / "rerankings"
    found = {reranking.name: reranking for reranking in load_rerankings(folder)}
    known = _sets_of({**recipes(), **fusions()})
    for name, reranking in found.items():
        where = f"{folder / name}.toml"
        if name in known:
            raise ValueError(f"{where}: {name} is the name of another recommender; choose another one")
        _check_part(where, reranking.set, reranking.of, known)
    return found


@cache
def alignments() -> dict[str, AlignmentRecipe]:
    """Alignments by name, in the order of their names; none where there is no folder of them.

    Raises:
        ValueError: an alignment has the name of another recommender, or its student does not exist, writes no lists, or
            is not in all sets that it is in.
    """
    folder = recipes_folder() / "alignments"
    found = {alignment.name: alignment for alignment in load_alignments(folder)}
    known = _sets_of({**recipes(), **fusions(), **rerankings()})
    for name, alignment in found.items():
        where = f"{folder / name}.toml"
        if name in known:
            raise ValueError(f"{where}: {name} is the name of another recommender; choose another one")
        _check_part(where, alignment.set, alignment.student, _sets_of(recipes()), "student")
        student = recipes().get(alignment.student)
        check_student(alignment, None if student is None else student.model, where)
    return found


@cache
def language_models() -> dict[str, LanguageModelRecipe]:
    """Language models by name, in the order of their names; none where there is no folder of them.

    Raises:
        ValueError: a language model has the name of another recommender, or re-ranks one that does not exist.
    """
    folder = recipes_folder() / "language_models"
    found = {recipe.name: recipe for recipe in load_language_models(folder)}
    of_others = {**recipes(), **fusions(), **rerankings()}
    for name, recipe in found.items():
        where = f"{folder / name}.toml"
        if name in {**BASELINES, **of_others, **alignments()}:
            raise ValueError(f"{where}: {name} is the name of another recommender; choose another one")
        if isinstance(recipe, RerankRecipe):
            # whatever set the part is in: a set that lacks it leaves the re-ranking out
            _check_part(where, None, recipe.of, _sets_of(of_others))
    return found


def _sets_of(recipes: Mapping[str, Any]) -> dict[str, str | None]:
    """The set that each recommender is in, by name; ``None`` for baselines that always run."""
    # a baseline that needs an extra is in no set of _SETS
    of_baselines = {
        name: None if baseline.always_runs else baseline.extra or CHOSEN_BASELINES
        for name, baseline in BASELINES.items()
    }
    return {**of_baselines, **{name: recipe.set for name, recipe in recipes.items()}}


def _check_part(where: str, set_: str | None, part: str, known: Mapping[str, str | None], role: str = "part") -> None:
    """Check that a part exists, and that every choice of sets that makes the whole makes the part.

    Args:
        where: the file, for errors.
        set_: the set of the whole; ``None`` for what is in none.
        part: name of the part.
        known: sets of the recommenders that may be parts (:func:`_sets_of`).
        role: what it is to the whole, for errors.

    Raises:
        ValueError: it does not, or not every choice does.
    """
    if part not in known:
        raise ValueError(
            f"{where}: there is no {part} to be a {role}{nearest(part, known)}; there are {', '.join(known)}"
        )
    of_part = known[part]
    if of_part is not None and any(set_ in sets and of_part not in sets for sets in _SETS.values()):
        raise ValueError(f"{where}: in the set {set_}, but its {role} {part} is in {of_part} alone")


@cache
def codes_recipes() -> dict[str, CodesRecipe]:
    """Recipes of codes by name, in the order of their names: those of the folder ``codes`` beside the recipes, or those
    of the library where there is no such folder.

    Raises:
        ValueError: a recipe of a model names codes that have no recipe.
    """
    own = recipes_folder() / "codes"
    found = load_codes_recipes(own) if own.is_dir() else load_codes_recipes()
    for name, recipe in recipes().items():
        if recipe.codes is not None and recipe.codes not in found:
            raise ValueError(
                f"{recipe_file(name)}: there is no recipe of codes {recipe.codes}{nearest(recipe.codes, found)}; "
                f"there are {', '.join(found) or 'none'}"
            )
    return found


@cache
def teacher_lists_recipes() -> dict[str, TeacherListsRecipe]:
    """Recipes of teacher lists by name, in the order of their names: those of the folder ``teacher_lists`` beside the
    recipes; none where there is no such folder.

    Raises:
        ValueError: a recipe of a model names lists that have no recipe, or that do not go with its marks; or lists name
            a teacher that does not exist, that is taught by others itself, or that is not in all sets of its student.
    """
    folder = recipes_folder() / "teacher_lists"
    found = load_teacher_lists_recipes(folder)
    known = _sets_of({**recipes(), **fusions()})
    for name, lists in found.items():
        _check_part(f"{folder / name}.toml", None, lists.teacher, known, "teacher")
    for name, recipe in recipes().items():
        if recipe.teacher_lists is not None:
            _check_student(name, recipe, found, known)
    return found


def _check_student(
    name: str, recipe: Recipe, lists: Mapping[str, TeacherListsRecipe], known: Mapping[str, str | None]
) -> None:
    """Check that a model can be taught the lists that its recipe names."""
    where = str(recipe_file(name))
    assert recipe.teacher_lists is not None  # it is a student
    if recipe.teacher_lists not in lists:
        raise ValueError(
            f"{where}: there is no recipe of teacher lists {recipe.teacher_lists}"
            f"{nearest(recipe.teacher_lists, lists)}; there are {', '.join(lists) or 'none'}"
        )
    taught = lists[recipe.teacher_lists]
    try:
        check_lists_of_recipe(recipe, taught.tradeoffs, taught.depth)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    _check_part(where, recipe.set, taught.teacher, known, "teacher")
    parts = fusions()[taught.teacher].parts if taught.teacher in fusions() else (taught.teacher,)
    for part in parts:
        if part in recipes() and recipes()[part].teacher_lists is not None:
            raise ValueError(f"{where}: its teacher {part} is taught by another recommender itself; name that one")


def chosen_baselines() -> list[str]:
    """Baselines that run only where they are chosen, in the order of tables."""
    return [name for name in BASELINES if name not in ALWAYS_RUN]


def recipe_names() -> list[str]:
    return sorted(recipes())


def fusion_names() -> list[str]:
    return sorted(fusions())


def reranking_names() -> list[str]:
    return sorted(rerankings())


def alignment_names() -> list[str]:
    return sorted(alignments())


def language_model_names() -> list[str]:
    return sorted(language_models())


def recommender_names() -> list[str]:
    """Baselines first, then models, then fusions, then re-rankings, then alignments, then language models."""
    made_of_others = [*fusion_names(), *reranking_names(), *alignment_names()]
    return [*BASELINES, *recipe_names(), *made_of_others, *language_model_names()]


def title_of(name: str) -> str:
    described: dict[str, Any] = {
        **BASELINES,
        **recipes(),
        **fusions(),
        **rerankings(),
        **alignments(),
        **language_models(),
    }
    return described[name].title


def kind_of(name: str) -> str:
    """One of :data:`ml.recommender.KINDS`.

    Raises:
        KeyError: there is no such recommender.
    """
    return registry().kind_of(name)


def layer_of(name: str) -> str:
    """The group of the asset that a recommender is: ``baselines`` or ``models``."""
    return _LAYERS[kind_of(name)]


def teacher_of(name: str) -> str | None:
    """The recommender whose lists a model is taught; ``None`` for one that is taught none."""
    return registry().teacher_of(name)


def parts_of(name: str) -> tuple[str, ...]:
    """All that a fusion or re-ranking is made of; any other recommender is its own only part."""
    return registry().parts_of(name)


def any_reads_times(names: Iterable[str]) -> bool:
    """Whether a recommender, or a part of one, reads when the items of a history were interacted with."""
    known = recipes()
    parts = {part for name in names for part in parts_of(name)}
    return any(part in known and known[part].reads_times for part in parts)


def modules_of(name: str) -> list[str]:
    """Modules whose code decides what a recommender ranks, once it is fitted.

    Registries and settings name them by a string, so the imports of a module do not lead there.
    """
    return _MODULES[kind_of(name)](name)


def _modules_of_baseline(name: str) -> list[str]:
    return [BASELINES[name].module]


def _modules_of_model(name: str) -> list[str]:
    recipe = recipes()[name]
    settings = recipe.model
    built_from = getattr(settings, "model", f"{type(settings).__module__}:Model")
    paths = [built_from, recipe.objective.objective, *([] if recipe.contrast is None else [recipe.contrast.contrast])]
    named = [path.split(":")[0] for path in paths]
    if recipe.pretraining is not None:
        named.append(TEXT_SPACE)
    return ["ml.training.sequential_recommender", *named, *modules_of_features(settings)]


def _modules_of_fusion(name: str) -> list[str]:
    return ["ml.recommenders.fused", *sorted({module for part in parts_of(name) for module in modules_of(part)})]


def _modules_of_reranking(name: str) -> list[str]:
    return sorted({"ml.recommenders.reranked", *modules_of(rerankings()[name].of)})


def _modules_of_alignment(name: str) -> list[str]:
    return sorted({"ml.recommenders.aligned", *modules_of(alignments()[name].student)})


def _modules_of_language_model(name: str) -> list[str]:
    recipe = language_models()[name]
    if isinstance(recipe, RerankRecipe):
        # the clients are imported where they are used
        clients = ["ml.language_models.endpoint", "ml.language_models.local_model"]
        return sorted({"ml.recommenders.prompted_reranking", *clients, *modules_of(recipe.of)})
    return ["ml.recommenders.query_generation"]


_LAYERS = {kind: "baselines" if kind == BASELINE else "models" for kind in KINDS}
_MODULES = {
    BASELINE: _modules_of_baseline,
    MODEL: _modules_of_model,
    FUSION: _modules_of_fusion,
    RERANKING: _modules_of_reranking,
    ALIGNMENT: _modules_of_alignment,
    LANGUAGE_MODEL: _modules_of_language_model,
}
# kinds that are made of parts, for sentences


def modules_by_name() -> list[str]:
    """Modules of all baselines and methods of codes, which registries name and imports do not lead to."""
    return sorted({one.module for one in (*BASELINES.values(), *METHODS.values())})


def chosen_names(named: Iterable[str]) -> list[str]:
    """Models, fusions, re-rankings, alignments, and baselines that do not always run, that some names of these or of
    sets stand for; those of ``quick`` where none is named.

    Where nothing is named and the extra ``train`` is not installed, there are none.

    Names that do not exist stand for nothing (:mod:`ml.recommenders.check_choice`), and so does a recommender that is
    built on others which are not all chosen. The answer stands for itself.
    """
    wanted = set(named)
    if not wanted:
        if missing("train"):
            return []
        wanted = {DEFAULT_SET}
    sets = {inner for name in wanted & _SETS.keys() for inner in _SETS[name]}
    chosen = [
        name
        for name in chosen_baselines()
        if name in wanted or (CHOSEN_BASELINES in sets and BASELINES[name].extra is None)
    ]
    chosen += [
        name
        for kind in (recipes(), fusions(), rerankings(), alignments())
        for name in sorted(kind)
        if name in wanted or kind[name].set in sets
    ]
    # sets hold no language model that cannot be made here; what is named is refused (ml.recommenders.check_choice)
    chosen += [
        name
        for name, recipe in language_models().items()
        if name in wanted or (recipe.set in sets and not _obstacle(recipe))
    ]
    # what one is built on may be left out itself
    while lacking := {name for name in chosen if lacking_parts(name, chosen)}:
        chosen = [name for name in chosen if name not in lacking]
    return chosen


def lacking_parts(name: str, chosen: Collection[str]) -> list[str]:
    """What a recommender is built on and neither always runs nor is chosen."""
    return [part for part in registry().built_on(name) if part not in ALWAYS_RUN and part not in chosen]


def left_out_language_models(named: Iterable[str]) -> dict[str, str]:
    """Language models of the chosen sets that are left out, each with the reason: it cannot be made here, or what it
    re-ranks is not chosen."""
    named = set(named)
    sets = {inner for name in named & _SETS.keys() for inner in _SETS[name]}
    chosen = chosen_names(named)
    reasons = {}
    for name, recipe in language_models().items():
        if recipe.set not in sets or name in named or name in chosen:
            continue
        lacked = ", ".join(lacking_parts(name, chosen))
        reasons[name] = _obstacle(recipe) or f"it re-ranks {lacked}, which is not chosen"
    return reasons


def _obstacle(recipe: LanguageModelRecipe) -> str:
    """Why a language model cannot be made here, as the end of a sentence; empty where it can."""
    if isinstance(recipe, RerankRecipe):
        return obstacle(recipe, recipes_folder())
    module = missing("llm", recipe.libraries)
    return remedy("llm", module) if module else ""


def compared(named: Iterable[str]) -> list[str]:
    """Recommenders of a leaderboard: the baselines that always run, and what was chosen."""
    return [*ALWAYS_RUN, *chosen_names(named)]


def needed_codes(chosen: Iterable[str]) -> set[str]:
    """Names of the codes that the chosen models are built on."""
    return {codes for name in chosen if name in recipes() and (codes := recipes()[name].codes) is not None}


def needed_teacher_lists(chosen: Iterable[str]) -> set[str]:
    """Names of the teacher lists that the chosen models are taught."""
    return {lists for name in chosen if name in recipes() and (lists := recipes()[name].teacher_lists) is not None}


def needed_pretrained(chosen: Iterable[str]) -> set[str]:
    """Names of the chosen models that are pre-trained on other datasets."""
    return {name for name in chosen if name in recipes() and recipes()[name].pretraining is not None}
