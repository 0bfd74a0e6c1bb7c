"""What the shared suite of recommenders runs on: a made-up training set, and every recommender.

A new recommender joins by one more entry in :data:`FACTORIES`.

Run as a script it fits every recommender and prints digests of what each recommends and saves, so that the
suite can compare two processes.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from alphabetical_model import AlphabeticalModel

from ml.baselines.registry import BASELINES
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.extras import missing
from ml.recommender import Recommendations, Recommender


@dataclass(frozen=True)
class Factory:
    """How the suite makes a recommender.

    Attributes:
        name: shown in the names of the tests.
        create: makes one to be fitted, from a seed.
        load: reads a saved one.
        score_tolerance: by how much scores may differ, relatively, when other rows are asked for beside a row
            (products of matrices of another shape round otherwise); lists may then differ among items that
            close. 0 where nothing may differ.
        reads_validation_targets: whether validation targets may change the result.
        library: that it needs and that may not be installed.
        extra: the optional dependency that it needs.
    """

    name: str
    create: Callable[[int], Recommender]
    load: Callable[[Path], Recommender]
    score_tolerance: float = 0.0
    reads_validation_targets: bool = False
    library: str = ""
    extra: str | None = None

    @property
    def installed(self) -> bool:
        """Whether all that it needs is there; else its tests are skipped."""
        has_library = not self.library or find_spec(self.library) is not None
        return has_library and (self.extra is None or not missing(self.extra))


# every kind of model and objective, so small that a fit takes a second
_SMALL_MODEL = {
    "architecture": "sasrec",
    "dimensions": 16,
    "blocks": 1,
    "heads": 2,
    "feed_forward_dimensions": 16,
    "dropout": 0.2,
    "max_length": 6,
    "block": "sasrec",
    "item_embedding": "dense",
    "separate_output_embedding": False,
    "embedding_deviation": 0.1,
}
_SMALL_GBCE = {
    "name": "generalised_binary_cross_entropy",
    "negatives": 8,
    "calibration": 0.75,
    "negatives_drawn_for": "position",
}
_SMALL_BPR = {"name": "bayesian_personalised_ranking", "negatives": 1}
_SMALL_VECTORS = {
    name: _SMALL_MODEL[name]
    for name in (
        "dimensions", "dropout", "max_length", "item_embedding", "separate_output_embedding", "embedding_deviation",
    )
}  # fmt: skip
_SMALL_FACTORS = {"dimensions": 16, "max_length": 6, "embedding_deviation": 0.1}
_SMALL_CODES = {"name": "code_cross_entropy"}
_SMALL_ITEM_CODES = {
    "architecture": "item_codes",
    **{
        name: _SMALL_MODEL[name]
        for name in (
            "dimensions", "blocks", "heads", "feed_forward_dimensions", "dropout", "max_length", "embedding_deviation",
        )
    },
    "block": "pre_norm",
    "reads": "codes_and_items",
    "beam_width": 0,
}  # fmt: skip
_SMALL_GPTREC = {
    **{name: value for name, value in _SMALL_MODEL.items() if name != "block"},
    "architecture": "gptrec",
    "lists": "next_k",
    "list_length": 4,
}
_SMALL_TIGER = {
    "architecture": "tiger",
    **{
        name: _SMALL_MODEL[name] for name in ("dimensions", "heads", "feed_forward_dimensions", "dropout", "max_length")
    },
    "head_dimensions": 8,
    "encoder_blocks": 1,
    "decoder_blocks": 1,
    "feed_forward": "relu",
    "reads": "codes",
    "user_tokens": 9,
    "tied_heads": False,
    "beam_width": 10,
    "embedding_deviation": 1.0,
}
_SMALL_RECIPES = {
    "sasrec": {
        "model": _SMALL_MODEL,
        "objective": {"name": "sampled_softmax", "negatives": 8, "log_q_correction": True},
    },
    "sasrec_text": {
        "model": _SMALL_MODEL | {"item_embedding": "text"},
        "objective": {"name": "sampled_softmax", "negatives": 8, "log_q_correction": True},
    },
    "sasrec_text_init": {
        "model": _SMALL_MODEL | {"item_embedding": "text_init"},
        "objective": {"name": "sampled_softmax", "negatives": 8, "log_q_correction": True},
    },
    "unisrec": {
        "model": _SMALL_MODEL
        | {"architecture": "unisrec", "item_embedding": "text_experts_and_id", "temperature": 0.07},
        "objective": {"name": "sampled_softmax", "negatives": 8, "log_q_correction": True},
    },
    "alpharec": {
        "model": _SMALL_FACTORS | {"architecture": "alpharec", "hidden_dimensions": 12, "temperature": 0.15},
        "objective": {"name": "sampled_softmax", "negatives": 8, "log_q_correction": False},
    },
    "gru4rec_text_and_id": {
        "model": _SMALL_VECTORS
        | {"architecture": "gru4rec", "layers": 1, "hidden_dimensions": 12, "item_embedding": "text_and_id"},
        "objective": {"name": "softmax"},
    },
    "gsasrec": {"model": _SMALL_MODEL | {"separate_output_embedding": True}, "objective": _SMALL_GBCE},
    "gsasrec_recjpq": {
        "codes": "svd",
        "model": _SMALL_MODEL | {"item_embedding": "joint_product_quantised", "block": "pre_norm"},
        "objective": _SMALL_GBCE,
    },
    "esasrec_recency_sampling": {
        "model": _SMALL_MODEL | {"block": "ligr"},
        "task": {"name": "recency_sampling", "sampled_share": 0.4, "recency": 0.8},
        "objective": {"name": "lambdarank"},
    },
    "bert4rec": {
        "model": _SMALL_VECTORS
        | {"architecture": "bert4rec", "blocks": 1, "heads": 2, "feed_forward_dimensions": 16, "item_biases": True},
        "task": {"name": "cloze", "masked_share": 0.2, "last_item_share": 0.2},
        "objective": {"name": "softmax"},
    },
    **{
        f"bert4rec_{block}": {
            "model": _SMALL_VECTORS
            | {"architecture": "bert4rec", "blocks": 2, "heads": 2, "feed_forward_dimensions": 16}
            | {"item_biases": True, "block": block},
            "task": {"name": "cloze", "masked_share": 0.2, "last_item_share": 0.2},
            "objective": {"name": "softmax"},
        }
        for block in ("albert", "deberta")
    },
    "cbit": {
        "model": _SMALL_VECTORS
        | {"architecture": "bert4rec", "blocks": 1, "heads": 2, "feed_forward_dimensions": 16, "item_biases": True},
        "task": {"name": "cloze", "masked_share": 0.2, "last_item_share": 0.2},
        "objective": {"name": "softmax"},
        "contrast": {"method": "cloze", "weight": 0.2, "temperature": 0.5, "similarity": "cosine", "views": 3},
    },
    "bsarec": {
        "model": _SMALL_VECTORS
        | {
            "architecture": "bsarec",
            "blocks": 1,
            "heads": 2,
            "feed_forward_dimensions": 16,
            "attention_dropout": 0.1,
            "alpha": 0.7,
            "low_pass": "fourier",
            "cutoff": 3,
        },
        "task": {"name": "every_prefix", "prefixes": 3},
        "objective": {"name": "softmax"},
    },
    "cl4srec": {
        "model": _SMALL_MODEL,
        "objective": {"name": "softmax"},
        "contrast": {"method": "augmentations", "weight": 0.2, "temperature": 0.5, "similarity": "cosine"},
    },
    "duorec": {
        "model": _SMALL_MODEL,
        "objective": {"name": "softmax"},
        "contrast": {"method": "dropout", "weight": 0.2, "temperature": 1.0, "similarity": "dot"},
    },
    "icsrec": {
        "model": _SMALL_MODEL,
        "objective": {"name": "softmax"},
        "contrast": {"method": "intents", "weight": 0.2, "temperature": 1.0, "similarity": "dot", "intents": 4},
    },
    "gru4rec": {
        "model": _SMALL_VECTORS | {"architecture": "gru4rec", "layers": 1, "hidden_dimensions": 12},
        "objective": {"name": "softmax"},
    },
    "nextitnet": {
        "model": _SMALL_VECTORS | {"architecture": "nextitnet", "filter_width": 3, "dilations": [1, 2]},
        "objective": {"name": "softmax"},
    },
    "mamba": {
        "model": _SMALL_VECTORS
        | {
            "architecture": "mamba",
            "blocks": 1,
            "feed_forward_dimensions": 16,
            "expansion": 2,
            "head_dimensions": 8,
            "state_dimensions": 4,
            "convolution_width": 3,
        },
        "objective": {"name": "softmax"},
    },
    "sasrec_reasoning": {
        "model": _SMALL_MODEL
        | {
            "architecture": "sasrec_reasoning",
            "block": "pre_norm",
            "reasoning_steps": 2,
            "reasoning_temperature": 1.5,
        },
        "objective": {"name": "sampled_softmax", "negatives": 8, "log_q_correction": True},
    },
    "sigma": {
        "model": _SMALL_VECTORS
        | {
            "architecture": "sigma",
            "blocks": 1,
            "feed_forward_dimensions": 16,
            "expansion": 1,
            "head_dimensions": 8,
            "state_dimensions": 4,
            "convolution_width": 3,
            "unflipped": 2,
        },
        "task": {"name": "every_prefix", "prefixes": 3},
        "objective": {"name": "softmax"},
    },
    "hstu": {
        "model": _SMALL_VECTORS | {"architecture": "hstu", "blocks": 1, "heads": 2},
        "objective": {"name": "softmax"},
    },
    "cafe": {
        "model": {name: value for name, value in _SMALL_MODEL.items() if name != "block"}
        | {"architecture": "cafe", "category_dimensions": 4, "category_blocks": 1, "category_heads": 1},
        "objective": {"name": "sampled_softmax", "negatives": 8, "log_q_correction": True},
    },
    "recformer": {
        "model": {
            "architecture": "recformer",
            "dimensions": 16,
            "blocks": 2,
            "heads": 2,
            "feed_forward_dimensions": 16,
            "dropout": 0.1,
            "max_length": 4,
            "embedding_deviation": 0.05,
            "temperature": 0.1,
            "vocabulary": 50,
            "words_of_key": 3,
        },
        "objective": {
            "name": "sampled_softmax",
            "negatives": 0,
            "distribution": "in_batch",
            "log_q_correction": True,
        },
    },
    "caser": {
        "model": _SMALL_FACTORS
        | {
            "architecture": "caser",
            "dropout": 0.2,
            "window": 3,
            "horizontal_filters": 4,
            "vertical_filters": 2,
            "user_vectors": True,
        },
        "objective": {"name": "binary_cross_entropy"},
    },
    "item_codes_tree": {"codes": "unique", "model": _SMALL_ITEM_CODES | {"head": "tree"}, "objective": _SMALL_CODES},
    "item_codes_ar": {
        "codes": "unique",
        "model": _SMALL_ITEM_CODES | {"head": "prefix", "beam_width": 10, "widest_beam": 80},
        "objective": _SMALL_CODES,
    },
    "item_codes_parallel": {
        "codes": "svd",
        "model": _SMALL_ITEM_CODES | {"head": "parallel"},
        "objective": _SMALL_CODES,
    },
    "tiger": {
        "codes": "unique",
        "model": _SMALL_TIGER,
        "task": {"name": "every_prefix", "prefixes": 3},
        "objective": _SMALL_CODES,
    },
    "genrec": {
        "codes": "unique",
        "model": _SMALL_TIGER | {"architecture": "genrec", "reads": "codes_and_items", "user_tokens": 0},
        "task": {"name": "masked_then_last", "prefixes": 0, "pretraining_epochs": 1},
        "objective": _SMALL_CODES,
    },
    "gptrec_codes": {
        "codes": "unique",
        "model": {name: value for name, value in _SMALL_ITEM_CODES.items() if name not in ("block", "reads")}
        | {"architecture": "gptrec_codes", "beam_width": 10, "widest_beam": 80},
        "objective": _SMALL_CODES,
    },
    "gptrec_codes_next_k": {
        "codes": "unique",
        "model": {name: value for name, value in _SMALL_ITEM_CODES.items() if name not in ("block", "reads")}
        | {
            "architecture": "gptrec_codes",
            "beam_width": 10,
            "widest_beam": 80,
            "lists": "next_k",
            "list_length": 4,
        },
        "objective": _SMALL_CODES,
    },
    "gptrec_next_k": {
        "model": _SMALL_GPTREC,
        "objective": {"name": "softmax"},
    },
    "gptrec_student": {
        "teacher_lists": "lists",
        "model": _SMALL_GPTREC | {"marks": 1},
        "task": {"name": "teacher_lists"},
        "objective": {"name": "softmax"},
    },
    "gptrec_distilled": {
        "teacher_lists": "lists",
        "tradeoff": "validation",
        "model": _SMALL_GPTREC | {"marks": 2},
        "task": {"name": "teacher_lists"},
        "objective": {"name": "softmax"},
    },
    "gptrec_top_k": {
        "model": _SMALL_GPTREC | {"lists": "top_k"},
        "objective": {"name": "softmax"},
    },
    "sasrec_time_gaps": {
        "model": {name: value for name, value in _SMALL_MODEL.items() if name != "block"}
        | {"architecture": "time_gap_sasrec", "buckets": 40},
        "objective": {"name": "sampled_softmax", "negatives": 8, "log_q_correction": True},
    },
    "tisasrec": {
        "model": {name: value for name, value in _SMALL_MODEL.items() if name != "block"}
        | {"architecture": "tisasrec", "longest_interval": 20},
        "objective": {"name": "softmax"},
    },
    "unisrec_pretrained": {
        "model": _SMALL_MODEL
        | {"architecture": "unisrec", "item_embedding": "text_experts_and_id", "temperature": 0.1},
        "objective": {"name": "softmax"},
        "pretraining": {
            "epochs": 1,
            "batch_size": 16,
            "learning_rate": 0.01,
            "sequence_weight": 0.001,
            "item_drop": 0.2,
        },
    },
    "fpmc": {"model": _SMALL_FACTORS | {"architecture": "fpmc"}, "objective": _SMALL_BPR},
    "mf_bpr": {"model": _SMALL_FACTORS | {"architecture": "matrix_factorisation"}, "objective": _SMALL_BPR},
}


def _create_transformer(name: str, seed: int) -> Recommender:
    # imported here, as in the next: torch takes seconds, and the tests of the baselines need none of it
    from ml.codes.svd import assign_svd_codes
    from ml.training.recipe import recipe_from_tables
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    tables = {
        "title": name,
        "source": "none",
        "notes": "for tests",
        "set": "quick",
        "task": {"name": "next_item"},
        "optimiser": {"learning_rate": 0.01, "betas": [0.9, 0.98], "weight_decay": 0.01, "warm_up_steps": 2},
        "training": {"batch_size": 16, "max_epochs": 2, "patience": 2},
        **_SMALL_RECIPES[name],
    }
    if "teacher_lists" in tables:
        return _create_student(recipe_from_tables(name, tables, name), seed)
    if tables["model"]["architecture"] == "cafe":
        return _create_with_categories(recipe_from_tables(name, tables, name), seed)
    if "pretraining" in tables:
        return _create_pretrained(recipe_from_tables(name, tables, name), seed)
    codes = None
    if "codes" in tables:
        made_up = made_up_training_set()
        codes = assign_svd_codes(made_up, books=4) if tables["codes"] == "svd" else _unique_codes(made_up.items)
    # on more threads such small sums would wait for each other
    return SequentialRecommender(recipe_from_tables(name, tables, name), seed, codes, execution=Execution(threads=1))


def _create_with_categories(recipe, seed: int) -> Recommender:
    """A model that reads categories, which the texts of the training set lack."""
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    class WithCategories(SequentialRecommender):
        def fit(self, training_set: TrainingSet):
            return super().fit(with_categories(training_set))

    return WithCategories(recipe, seed, execution=Execution(threads=1))


def with_categories(training_set: TrainingSet) -> TrainingSet:
    """The training set with texts that say a category of each item but every seventh."""
    names = ["Saws", "Hoses|Pipes", "Unknown", "Wires", "Gloves", "Saws", "Tapes"]
    return training_set.with_text(
        tuple(
            f"Title: item {item} Brand: Unknown Category: {names[item % 7]} Price: Unknown"
            for item in range(training_set.items)
        )
    )


def _create_pretrained(recipe, seed: int) -> Recommender:
    """A model that is pre-trained on another made-up dataset, with the texts of the training set."""
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender
    from ml.transfer.pretrain import pretrain

    class Finetuned(SequentialRecommender):
        def fit(self, training_set: TrainingSet):
            sources = [made_up_training_set(seed=1)]
            self.pretrained, _ = pretrain(recipe, sources, training_set.item_text, seed, Execution(threads=1))
            return super().fit(training_set)

    return Finetuned(recipe, seed, execution=Execution(threads=1))


def _create_student(recipe, seed: int) -> Recommender:
    """A student whose teacher, a Markov chain, is fitted on the same training set."""
    from ml.data.training_set import FIT_ON_TRAIN
    from ml.teaching.make_lists import make_teacher_lists
    from ml.teaching.recipe import TeacherListsRecipe
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    marks = recipe.model.marks
    reranked = {"tradeoffs": (0.0, 1.0), "method": "greedy", "goals": ("popularity",)} if marks > 1 else {}
    lists = TeacherListsRecipe("lists", "Lists", "none", "", "markov_chain", 3, depth=4, candidates=10, **reranked)

    class Student(SequentialRecommender):
        def fit(self, training_set: TrainingSet):
            teacher = BASELINES["markov_chain"].create(seed).fit(training_set)
            self.teacher_lists = make_teacher_lists(lists, {FIT_ON_TRAIN: teacher}, training_set, seed, True)
            return super().fit(training_set)

    return Student(recipe, seed, execution=Execution(threads=1))


def _unique_codes(items: int):
    """Identifiers of three codes, in an order that means nothing."""
    from ml.codes.codes import Codes

    sizes = [4, 5, -(-items // 20)]
    order = np.random.default_rng(0).permutation(items)
    values = np.stack(np.unravel_index(order, sizes), axis=1).astype(np.uint8)
    return Codes(values, {"name": "unique", "books": 3, "book_sizes": sizes})


def _load_transformer(folder: Path) -> Recommender:
    from ml.training.sequential_recommender import SequentialRecommender

    return SequentialRecommender.load(folder)


_FUSED = ("markov_chain", "bm25_last_item", "random")


def _create_fusion(fit_on: str, seed: int) -> Recommender:
    from ml.recommenders.fused import FusedRecommender

    parts = {name: BASELINES[name].create(seed) for name in _FUSED}
    return FusedRecommender(parts, depth=40, fit_on=fit_on, seed=seed)


def _load_fusion(folder: Path) -> Recommender:
    from ml.recommenders.fused import FusedRecommender

    return FusedRecommender.load(folder)


# of each method of re-ranking: what it re-ranks, for which goal, with a tradeoff that is given or chosen
_RERANKED = {
    "mmr": ("bm25_last_item", "text_diversity", "validation"),
    "greedy": ("fusion", "popularity", "validation"),
    "sog": ("markov_chain", "co_occurrence_diversity", 0.6),
    "calibration": ("markov_chain", "popularity", 0.5),
}


def _create_reranking(method: str, seed: int) -> Recommender:
    from ml.recommenders.reranked import Reranked
    from ml.reranking.recipe import RerankingRecipe

    of, goal, tradeoff = _RERANKED[method]
    recipe = RerankingRecipe(
        f"{method}_of_{of}", method, "none", "for tests", "quick", of, method, (goal,), tradeoff, candidates=20
    )
    part = _create_fusion("train", seed) if of == "fusion" else BASELINES[of].create(seed)
    return Reranked(recipe, part, seed=seed)


def _load_reranking(folder: Path) -> Recommender:
    from ml.recommenders.reranked import Reranked

    return Reranked.load(folder)


def _create_alignment(method: str, seed: int) -> Recommender:
    from ml.alignment.recipe import AlignmentRecipe
    from ml.recommenders.aligned import AlignedRecommender

    recipe = AlignmentRecipe(
        *(f"aligned_by_{method}", method, "none", "for tests", "quick", "gptrec_next_k", method, ("popularity",)),
        weights=(0.0, 2.0),
        steps=6,
        batch_size=16,
        policy_learning_rate=0.01,
        validate_every=3,
        largest_loss=1.0,
    )
    return AlignedRecommender(recipe, _create_transformer("gptrec_next_k", seed), seed)


def _load_alignment(folder: Path) -> Recommender:
    from ml.recommenders.aligned import AlignedRecommender

    return AlignedRecommender.load(folder)


def _create_query_generation(merge: str, seed: int) -> Recommender:
    from ml.language_models.recipe import FinetuningSettings, GeneratorSettings, QueryRecipe, QuerySettings
    from ml.recommenders.query_generation import QueryGeneration

    recipe = QueryRecipe(
        *(f"llm_query_{merge}", merge, "none", "for tests", "quick"),
        GeneratorSettings(vocabulary=290, dimensions=16, layers=1, heads=2),
        FinetuningSettings(steps=6, batch_size=16, learning_rate=0.01, warm_up_steps=2, validate_every=3),
        QuerySettings(history=3, title_tokens=8, queries=3, merge=merge),
    )
    return QueryGeneration(recipe, seed)


def _create_prompted_reranking(seed: int) -> Recommender:
    from ml.language_models.answers import KeptAnswers
    from ml.language_models.rerank_recipe import RerankRecipe
    from ml.recommenders.prompted_reranking import PromptedReranking

    words = ("llm_rerank", "LLM", "none", "for tests", "quick")
    recipe = RerankRecipe(*words, "two_hop_graph", endpoint=True, candidates=8, shuffles=2, history=3, users=40)
    part = BASELINES["two_hop_graph"].create(seed)
    return PromptedReranking(recipe, part, seed=seed, client=AlphabeticalModel(), kept=KeptAnswers())


def _load_prompted_reranking(folder: Path) -> Recommender:
    from ml.language_models.answers import KeptAnswers
    from ml.recommenders.prompted_reranking import PromptedReranking

    return PromptedReranking.load(folder, AlphabeticalModel(), KeptAnswers())


def _load_query_generation(folder: Path) -> Recommender:
    from ml.recommenders.query_generation import QueryGeneration

    return QueryGeneration.load(folder)


# of baselines that multiply dense matrices
_TOLERANCES = {"als": 1e-5}

FACTORIES: list[Factory] = [
    *(
        Factory(
            baseline.name, baseline.create, baseline.load, _TOLERANCES.get(baseline.name, 0.0), extra=baseline.extra
        )
        for baseline in BASELINES.values()
    ),
    *(
        Factory(
            name,
            partial(_create_transformer, name),
            _load_transformer,
            score_tolerance=1e-5,
            reads_validation_targets=True,
        )
        for name in _SMALL_RECIPES
    ),
    Factory("fusion", partial(_create_fusion, "train"), _load_fusion, reads_validation_targets=True),
    Factory("fusion_refit", partial(_create_fusion, "train+validation"), _load_fusion, reads_validation_targets=True),
    *(
        Factory(
            f"reranked_by_{method}",
            partial(_create_reranking, method),
            _load_reranking,
            reads_validation_targets=tradeoff == "validation" or of == "fusion",
        )
        for method, (of, _, tradeoff) in _RERANKED.items()
    ),
    *(
        Factory(
            f"aligned_by_{method}",
            partial(_create_alignment, method),
            _load_alignment,
            score_tolerance=1e-5,
            reads_validation_targets=True,
        )
        for method in ("ppo", "reinforce")
    ),
    *(
        Factory(
            f"llm_query_{merge}",
            partial(_create_query_generation, merge),
            _load_query_generation,
            score_tolerance=1e-4,
            reads_validation_targets=True,
            library="transformers",
        )
        for merge in ("weighted", "in_turns")
    ),
    Factory("llm_rerank", _create_prompted_reranking, _load_prompted_reranking),
]

# all that are no sequential models, and of those one of each way to read items, to train and to rank: for what does not
# depend on the network
OF_EVERY_KIND = [
    *BASELINES,
    *("sasrec", "sasrec_text", "gsasrec_recjpq", "gru4rec", "bert4rec", "cafe", "recformer", "caser", "tisasrec"),
    *("fpmc", "mf_bpr", "item_codes_tree", "tiger", "gptrec_codes", "gptrec_next_k", "gptrec_student"),
    *("unisrec_pretrained", "fusion", "fusion_refit", *(f"reranked_by_{method}" for method in _RERANKED)),
    *("aligned_by_ppo", "llm_query_weighted", "llm_rerank"),
]

_WORDS = ["steel", "brass", "copper", "drill", "saw", "hose", "valve", "wire", "tape", "glove", "bolt"]


def made_up_training_set(seed: int = 0, users: int = 70, items: int = 40) -> TrainingSet:
    """A small training set with what is rare in real ones.

    Items without a training interaction, users without a training history (some of them tested), histories
    with one item and with repeated ones, and texts that are equal or hold no word.
    """
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, items + 1)
    weights[-6:] = 0
    lengths = rng.integers(0, 12, users)
    lengths[:3] = (0, 1, 0)
    histories = [rng.choice(items, length, p=weights / weights.sum()) for length in lengths]
    texts = [f"Title: {' '.join(rng.choice(_WORDS, 3))} Brand: {rng.choice(_WORDS)}" for _ in range(items)]
    texts[3] = texts[7]
    texts[5] = "!"
    validation_users = np.sort(rng.choice(np.arange(1, users), users // 4, replace=False)).astype(np.int32)
    test_users = np.arange(0, users - 5, dtype=np.int32)
    training_set = TrainingSet(
        dataset="Made_Up",
        item_ids=np.array([f"I{item:03d}" for item in range(items)], dtype="S"),
        user_ids=np.array([f"U{user:03d}" for user in range(users)], dtype="S"),
        train=Sequences.from_lists(histories),
        validation_users=validation_users,
        validation_targets=rng.integers(0, items, len(validation_users)).astype(np.int32),
        test_users=test_users,
        test_targets=rng.integers(0, items, len(test_users)).astype(np.int32),
        item_text=tuple(texts),
    )
    # real ones, as far as a model can see: gaps from none to weeks
    gaps = rng.choice([0, 60, 86_400, 1_900_800], int(lengths.sum()))
    ends = rng.integers(2_000_000_000, 2_100_000_000, len(validation_users))
    return training_set.with_times(np.cumsum(gaps), ends, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def digest_of(recommendations: Recommendations) -> str:
    """SHA-256 of items and scores."""
    digest = hashlib.sha256(recommendations.items.tobytes())
    digest.update(recommendations.scores.tobytes())
    return digest.hexdigest()


def digest_of_files(folder: Path) -> str:
    """SHA-256 of names and bytes of all files of a folder, logs (which hold times) aside."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl"):
        digest.update(f"{path.relative_to(folder)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def digests() -> dict[str, list[str]]:
    """Of every recommender: what it recommends, and what it saves."""
    training_set = made_up_training_set()
    known = {}
    for factory in (one for one in FACTORIES if one.installed):
        recommender = factory.create(3).fit(training_set)
        answer = recommender.recommend(training_set.histories("test"), 10, exclude_seen=True)
        with tempfile.TemporaryDirectory() as folder:
            recommender.save(Path(folder))
            known[factory.name] = [digest_of(answer), digest_of_files(Path(folder))]
    return known


if __name__ == "__main__":
    json.dump(digests(), sys.stdout)
