"""All recommenders by name.

The baselines of the library, one model for each recipe file, and one fusion, re-ranking or alignment for each file in
the folders ``fusions``, ``rerankings`` and ``alignments`` beside the recipes. Which of them a choice selects is in
:mod:`ml.recommenders.choice`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ml.alignment.recipe import AlignmentRecipe, check_student, load_alignments
from ml.baselines.registry import BASELINES
from ml.codes.recipe import CODES_RECIPES, CodesRecipe, load_codes_recipes
from ml.config import nearest
from ml.fusion.recipe import FusionRecipe, load_fusions
from ml.language_models.recipe import LanguageModelRecipe, load_language_models
from ml.language_models.rerank_recipe import RerankRecipe
from ml.recommender import ALIGNMENT, BASELINE, FUSION, KINDS, LANGUAGE_MODEL, MODEL, RERANKING
from ml.recommenders.codes_of_vectors import why_no_vectors
from ml.reranking.recipe import RerankingRecipe, load_rerankings
from ml.teaching.recipe import TeacherListsRecipe, load_teacher_lists_recipes
from ml.training.recipe import RECIPE_SETS, RECIPES, Recipe, load_recipes
from ml.training.tradeoffs import check_lists_of_recipe

# what each name of a set stands for
SETS = {
    "quick": ("quick",),
    "full": ("quick", "full"),
    "generative": ("quick", "generative"),
    "beyond_accuracy": ("quick", "beyond_accuracy"),
    "knowledge": ("quick", "full", "knowledge"),
    "slow": ("slow",),
    "published": ("published",),
}
# the set of the baselines that run only where they are chosen
CHOSEN_BASELINES = "knowledge"
assert set(SETS) == set(RECIPE_SETS)


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

    def vectors_of_codes(self, name: str) -> tuple[str, ...]:
        """The models whose item vectors the codes of a model are made of; none for any other recommender."""
        codes = self.codes.get(self.recipes[name].codes or "") if name in self.recipes else None
        return () if codes is None else codes.needs_recipes

    def built_on(self, name: str) -> tuple[str, ...]:
        """All recommenders that are fitted before one, each behind those that it is built on itself: the parts of a
        fusion or re-ranking, the teacher of a model, the models whose vectors its codes are made of, and the student of
        an alignment."""
        teacher = self.teacher_of(name)
        direct = [*(part for part in self.parts_of(name) if part != name), *([] if teacher is None else [teacher])]
        direct += self.vectors_of_codes(name)
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
    # a baseline that needs an extra is in no set of SETS
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
    if of_part is not None and any(set_ in sets and of_part not in sets for sets in SETS.values()):
        raise ValueError(f"{where}: in the set {set_}, but its {role} {part} is in {of_part} alone")


@cache
def codes_recipes() -> dict[str, CodesRecipe]:
    """Recipes of codes by name, in the order of their names: those of the folder ``codes`` beside the recipes, or those
    of the library where there is no such folder.

    Of those of the library the ones are left out that are made of the vectors of models that the folder has no recipe
    of, and that none of its models names.

    Raises:
        ValueError: a recipe of a model names codes that have no recipe; or codes are to be made of the item vectors of
            something that has none, or that is not in all sets of a model that is built on these codes.
    """
    own = recipes_folder() / "codes"
    folder = own if own.is_dir() else CODES_RECIPES
    found = load_codes_recipes(folder)
    named = {recipe.codes for recipe in recipes().values()}
    for name in list(found):
        if reason := why_no_vectors(name, found, recipes()):
            if folder == own or name in named:
                raise ValueError(f"{folder / name}.toml: vectors.recipe: {reason}")
            del found[name]
    for name, recipe in recipes().items():
        if recipe.codes is not None and recipe.codes not in found:
            raise ValueError(
                f"{recipe_file(name)}: there is no recipe of codes {recipe.codes}{nearest(recipe.codes, found)}; "
                f"there are {', '.join(found) or 'none'}"
            )
        for source in found[recipe.codes].needs_recipes if recipe.codes is not None else ():
            _check_part(str(recipe_file(name)), recipe.set, source, _sets_of(recipes()), "source of item vectors")
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
    """The title of a recommender.

    Raises:
        KeyError: there is no such recommender.
    """
    return registry().title_of(name)


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


_LAYERS = {kind: "baselines" if kind == BASELINE else "models" for kind in KINDS}
